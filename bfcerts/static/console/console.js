"use strict";
// Live pages, copyable values and forms that are sent once. No other host is asked for anything.
(() => {
  const INTERVAL = 3000;

  const announce = (text) => {
    const toast = document.createElement("div");
    toast.className = "c-toast";
    toast.setAttribute("role", "status");
    toast.textContent = text;
    document.body.append(toast);
    setTimeout(() => toast.remove(), 1800);
  };

  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(text);
      return;
    }
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    copy(button.dataset.copy).then(() => announce("Copied"), () => announce("Copying is not possible here"));
  });

  // A second click must not send a form twice; the server would also see that it is the same request.
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-once]")) return;
    event.target.querySelectorAll("button[type=submit]").forEach((button) => { button.disabled = true; });
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });

  const selecting = (area) => {
    const selection = window.getSelection();
    return selection && !selection.isCollapsed && area.contains(selection.anchorNode);
  };

  const selectorOf = (element) => {
    if (element.id) return `#${CSS.escape(element.id)}`;
    const name = element.matches("[data-copy]") ? "data-copy" : "href";
    return element.hasAttribute(name) ? `[${name}="${CSS.escape(element.getAttribute(name))}"]` : null;
  };

  // Times stand in UTC; their title also says the time where the reader is.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const elsewhere = zone && zone !== "UTC" && zone !== "Etc/UTC";
  const local = new Intl.DateTimeFormat("en-GB", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  });

  const addLocalTimes = (area) => {
    if (!elsewhere) return;
    area.querySelectorAll("time[datetime]:not([data-local])").forEach((time) => {
      const here = `${local.format(new Date(time.dateTime))} in ${zone}`;
      time.dataset.local = here;
      time.title = `${time.title || time.textContent.trim()} = ${here}`;
    });
  };

  const sayTimeZone = () => {
    const note = document.querySelector("[data-time-zone]");
    if (!note) return;
    note.textContent = elsewhere ? `Times are in UTC. Point at one to see it in ${zone}.` : "Times are in UTC.";
    note.hidden = false;
  };

  // What an operator has begun is never swept away by a refresh: a form with something typed, or rows that are chosen.
  const touched = new Set();
  document.addEventListener("input", (event) => { if (event.target.form) touched.add(event.target.form); });
  document.addEventListener("change", (event) => { if (event.target.form) touched.add(event.target.form); });
  document.addEventListener("reset", (event) => touched.delete(event.target));

  const begun = () => {
    if (document.querySelector(".action-select:checked")) return "Waits while rows are chosen";
    const dirty = [...touched].some((form) => form.isConnected && isDirty(form));
    return dirty ? "Waits while a form is filled in" : "";
  };

  const isDirty = (form) => [...form.elements].some((field) => {
    if (field.type === "hidden" || field.matches(".action-select")) return false;
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected) && field.value !== "";
    return "defaultValue" in field && field.value !== field.defaultValue;
  });

  // A list keeps its frame, and with it where it is scrolled to: only its rows are put in anew.
  const replaceRows = (table, fresh) => {
    table.querySelectorAll(":scope > tbody").forEach((rows) => rows.remove());
    table.append(...fresh.querySelectorAll(":scope > tbody"));
  };

  const show = (area, html) => {
    const parts = document.querySelectorAll("[data-live-part]");
    if (!parts.length) {
      area.innerHTML = html;
      return;
    }
    const fresh = new DOMParser().parseFromString(html, "text/html");
    parts.forEach((part) => {
      const next = fresh.querySelector(`[data-live-part="${part.dataset.livePart}"]`);
      if (!next) return;
      const [table, rows] = [part, next].map((item) => item.querySelector("#result_list"));
      if (table && rows) replaceRows(table, rows);
      else part.innerHTML = next.innerHTML;
    });
  };

  const live = (area) => {
    const interval = Number(area.dataset.liveInterval) || INTERVAL;
    const status = document.querySelector("[data-live-status]");
    const words = status && status.querySelector("[data-live-words]");
    const toggle = status && status.querySelector("[data-live-toggle]");
    let paused = false;
    let tag = "";
    let busy = false;

    const say = (state, text) => {
      if (!status || words.textContent === text) return;
      words.textContent = text;
      if (status.dataset.state === state) return;
      status.dataset.state = state;
      status.querySelector("[data-live-said]").textContent = state === "live" ? "The page is live again" : text;
    };

    const put = (html) => {
      const open = [...area.querySelectorAll("details[open][id]")].map((item) => item.id);
      const within = document.activeElement && document.activeElement.closest("[data-live], [data-live-part]");
      const focused = within ? selectorOf(document.activeElement) : null;
      show(area, html);
      const again = focused && within.isConnected && within.querySelector(focused);
      if (again) again.focus({ preventScroll: true });
      open.forEach((id) => { const item = document.getElementById(id); if (item) item.open = true; });
      addLocalTimes(document);
    };

    const refresh = async () => {
      if (paused || busy || document.hidden || selecting(area)) return;
      const waits = begun();
      if (waits) {
        say("paused", waits);
        return;
      }
      busy = true;
      try {
        const headers = tag ? { "X-Live": "fragment", "If-None-Match": tag } : { "X-Live": "fragment" };
        const answer = await fetch(window.location.href, { headers, credentials: "same-origin" });
        if (answer.status !== 304) {
          const html = await answer.text();
          if (!html.startsWith("<!--live-->")) {
            paused = true;
            say("lost", answer.redirected ? "Signed out. Reload the page." : "Not updating. Reload the page.");
            return;
          }
          if (begun() || selecting(area)) return;
          put(html);
          tag = answer.headers.get("ETag") || "";
        }
        say("live", `Live · ${new Date().toISOString().slice(11, 19)} UTC`);
      } catch {
        say("lost", "No connection. Trying again.");
      } finally {
        busy = false;
      }
    };

    if (toggle) {
      toggle.addEventListener("click", () => {
        paused = !paused;
        toggle.textContent = paused ? "Resume" : "Pause";
        say(paused ? "paused" : "live", paused ? "Paused" : "Live");
        if (!paused) refresh();
      });
    }
    setInterval(refresh, interval);
    document.addEventListener("visibilitychange", refresh);
  };

  // Names for what has only a picture or a placeholder, and somewhere for “Skip to the content” to go.
  const name = () => {
    const content = document.getElementById("content");
    if (content) {
      content.setAttribute("role", "main");
      content.tabIndex = -1;
    }
    const search = document.getElementById("searchbar");
    if (search) search.setAttribute("aria-label", `Search: ${search.placeholder}`);
    const button = document.getElementById("searchbar-submit");
    if (button) button.setAttribute("aria-label", "Search");
    const filters = document.getElementById("changelist-filter");
    if (filters) {
      filters.setAttribute("role", "group");
      filters.setAttribute("aria-label", "Filters");
    }
    document.querySelectorAll("a.addlink[title]").forEach((link) => link.setAttribute("aria-label", link.title));
    document.querySelectorAll(".material-symbols-outlined:not([aria-hidden])").forEach((icon) => icon.setAttribute("aria-hidden", "true"));
  };

  // Filters: opening them moves the focus in, Escape brings it back to the button.
  const filters = (button) => {
    const panel = document.getElementById("changelist-filter");
    if (!panel) return;
    const reachable = () => [...panel.querySelectorAll("input, select, button, a[href], [tabindex='0']")].find(
      (item) => item.type !== "hidden" && item.tabIndex >= 0 && item.offsetParent !== null);
    button.addEventListener("click", () => setTimeout(() => { const first = reachable(); if (first) first.focus(); }, 60));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && panel.contains(document.activeElement)) button.focus();
    });
  };

  // Ctrl+K: Enter opens the chosen result, or else the first; before there is one, nothing happens.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.id !== "search-input-command") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const found = document.querySelector("#command-results li.active a[href]") || document.querySelector("#command-results li a[href]");
    if (!found) return;
    if (event.ctrlKey || event.metaKey) window.open(found.href, "_blank", "noopener");
    else window.location.assign(found.href);
  }, true);

  document.addEventListener("DOMContentLoaded", () => {
    name();
    const user = document.querySelector("#login-form [name=username]");
    if (user) user.focus();
    const here = document.querySelector(".c-nav .active");
    if (here) here.scrollIntoView({ block: "nearest" });
    sayTimeZone();
    addLocalTimes(document);
    const area = document.querySelector("[data-live]");
    if (area) live(area);
    const button = document.querySelector("[data-filters-open]");
    if (button) filters(button);
  });
})();
