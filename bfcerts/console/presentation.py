"""How values are shown: states with word, icon and colour; times with UTC; fingerprints to copy."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

NOTHING = "-"

_ICONS = {
    "success": "check_circle",
    "info": "pending",
    "warning": "schedule",
    "danger": "error",
    "default": "radio_button_unchecked",
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in its word, with the tone of its colour. The icon says the same, for those who see no colours."""

    text: str
    tone: str = "default"

    @property
    def icon(self) -> str:
        return _ICONS[self.tone]

    def __html__(self) -> str:
        return format_html(
            '<span class="c-badge c-badge--{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
            "{}</span>",
            self.tone,
            self.icon,
            self.text,
        )

    def __str__(self) -> str:
        return self.__html__()


def moment(value: datetime | None, now: datetime | None = None) -> SafeString | str:
    """A time in UTC; with `now`, how far away it is comes first."""
    if value is None:
        return NOTHING
    utc = value.astimezone(UTC)
    exact = f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    shown = f"{utc:%Y-%m-%d %H:%M} UTC" if now is None else distance(value, now)
    return format_html('<time datetime="{}" title="{}">{}</time>', utc.isoformat(), exact, shown)


def exact_moment(value: datetime | None) -> SafeString | str:
    """A time in UTC to the second, where the order of things matters."""
    if value is None:
        return NOTHING
    utc = value.astimezone(UTC)
    return format_html('<time datetime="{}">{}</time>', utc.isoformat(), f"{utc:%Y-%m-%d %H:%M:%S} UTC")


def distance(value: datetime, now: datetime) -> str:
    """How far a time is from now, in words: “in 23 days”, “4 minutes ago”."""
    difference = value - now
    words = span(abs(difference))
    if words == "0 seconds":
        return "now"
    return f"in {words}" if difference > timedelta(0) else f"{words} ago"


_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def span(value: timedelta) -> str:
    """A duration in its largest whole unit: “23 days”, “4 minutes”."""
    seconds = int(value.total_seconds())
    for name, size in _UNITS:
        if seconds >= size or name == "second":
            count = seconds // size
            return f"{count} {name}{'' if count == 1 else 's'}"
    raise AssertionError  # pragma: no cover  # the last unit always returns


def exact_span(value: timedelta | None) -> str:
    """A duration in full: “7 days 4 hours”."""
    if value is None:
        return NOTHING
    seconds = int(value.total_seconds())
    parts = []
    for name, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " ".join(parts) or "0 seconds"


def copyable(value: str, *, shown: str = "", label: str = "value") -> SafeString | str:
    """A value that one click copies in full, such as a fingerprint."""
    if not value:
        return NOTHING
    return format_html(
        '<span class="c-copy"><code class="c-mono" title="{0}">{1}</code>'
        '<button type="button" class="c-copy__button" data-copy="{0}" aria-label="Copy {2}">'
        '<span class="material-symbols-outlined" aria-hidden="true">content_copy</span></button></span>',
        value,
        shown or value,
        label,
    )


def short(fingerprint: str) -> str:
    """The first sixteen digits of a fingerprint, in groups of four."""
    head = fingerprint[:16]
    return " ".join(head[i : i + 4] for i in range(0, len(head), 4)) + ("…" if len(fingerprint) > len(head) else "")


def grouped(fingerprint: str) -> str:
    """A fingerprint in groups of four digits."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


def document(value: Any) -> SafeString | str:
    """A JSON document, readable."""
    if value in (None, {}, []):
        return NOTHING
    return format_html('<pre class="c-document">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


def folded(value: Any) -> SafeString | str:
    """What only a technician wants to see: a JSON document, shown when it is asked for."""
    if value in (None, {}, []):
        return NOTHING
    return format_html('<details class="c-folded"><summary>Show</summary>{}</details>', document(value))


def unbroken(value: str) -> SafeString:
    """A name that stays on one line: an identifier broken at its hyphen is hard to read."""
    return format_html('<span class="c-unbroken">{}</span>', value)


_ABBREVIATIONS = frozenset({"csr", "ca", "tls", "id"})


def spoken(name: str) -> str:
    """A machine's name in words: csr_received becomes “CSR received”."""
    words = [word.upper() if word in _ABBREVIATIONS else word for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


_LISTENERS = {"profile2": "Profile 2", "profile3": "Profile 3", "dual": "Profiles 2 and 3"}


def listener_words(name: str) -> str:
    """A listener of the gateway in words: dual becomes “Profiles 2 and 3”."""
    return _LISTENERS.get(name) or spoken(name)


def protocol_words(subprotocol: str) -> str:
    """A WebSocket subprotocol in words: ocpp2.0.1 becomes “OCPP 2.0.1”."""
    version = subprotocol.removeprefix("ocpp")
    return f"OCPP {version}" if version != subprotocol else subprotocol


def text(value: str) -> SafeString | str:
    """A text whose lines matter, such as PEM."""
    return format_html('<pre class="c-document">{}</pre>', value.strip()) if value else NOTHING


def link(url: str, text: object) -> SafeString:
    return format_html('<a class="c-link" href="{}">{}</a>', url, text)
