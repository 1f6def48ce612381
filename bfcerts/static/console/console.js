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

  const live = (area) => {
    const status = document.querySelector("[data-live-status]");
    const words = status && status.querySelector("[data-live-words]");
    const toggle = status && status.querySelector("[data-live-toggle]");
    let paused = false;
    let last = null;
    let busy = false;

    const show = (state, text) => {
      if (!status) return;
      status.dataset.state = state;
      words.textContent = text;
    };

    const refresh = async () => {
      if (paused || busy || document.hidden || selecting(area)) return;
      busy = true;
      try {
        const answer = await fetch(window.location.href, { headers: { "X-Live": "fragment" }, credentials: "same-origin" });
        const html = await answer.text();
        if (!html.startsWith("<!--live-->")) {
          paused = true;
          show("lost", answer.redirected ? "Signed out. Reload the page." : "Not updating. Reload the page.");
          return;
        }
        if (html !== last) {
          const open = [...area.querySelectorAll("details[open][id]")].map((item) => item.id);
          const focused = area.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
          area.innerHTML = html;
          const again = focused && area.querySelector(focused);
          if (again) again.focus({ preventScroll: true });
          open.forEach((id) => { const item = document.getElementById(id); if (item) item.open = true; });
          last = html;
        }
        show("live", `Live · ${new Date().toISOString().slice(11, 19)} UTC`);
      } catch {
        show("lost", "No connection. Trying again.");
      } finally {
        busy = false;
      }
    };

    if (toggle) {
      toggle.addEventListener("click", () => {
        paused = !paused;
        toggle.textContent = paused ? "Resume" : "Pause";
        show(paused ? "paused" : "live", paused ? "Paused" : "Live");
        if (!paused) refresh();
      });
    }
    setInterval(refresh, INTERVAL);
    document.addEventListener("visibilitychange", refresh);
  };

  document.addEventListener("DOMContentLoaded", () => {
    const area = document.querySelector("[data-live]");
    if (area) live(area);
  });
})();
