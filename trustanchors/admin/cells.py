"""Badges, links and tables that the pages of trust anchors share."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from bfcerts.console.presentation import NOTHING, Badge, link
from trustanchors.choices import (
    BUNDLE_COLOURS,
    INSTALLATION_COLOURS,
    ROLLOUT_COLOURS,
    STEP_COLOURS,
    BundleState,
    InstallationState,
    RolloutState,
    StepState,
)
from trustanchors.models import BundleRollout

_COLOURS: dict[type[Any], dict[str, str]] = {
    BundleState: BUNDLE_COLOURS,
    RolloutState: ROLLOUT_COLOURS,
    InstallationState: INSTALLATION_COLOURS,
    StepState: STEP_COLOURS,
}


def badge(states: type[Any], value: str) -> Badge:
    """A state in its word and colour."""
    return Badge(states(value).label, _COLOURS[states][value])


def page_of(instance: Model, text: object = "") -> SafeString:
    """A link to the page of an object."""
    options = instance._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[instance.pk])
    return link(url, text or instance)


def gate_badge(rollout: BundleRollout) -> Badge:
    return Badge("Open", "success") if rollout.gate_open else Badge("Closed", "warning")


def end_words(ends: datetime, now: datetime) -> Badge | str:
    """The end of an anchor; loud where it has come."""
    words = f"{ends:%Y-%m-%d}"
    return Badge(f"ended {words}", "danger") if ends <= now else words


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString | str:
    """A small table; nothing where it has no rows."""
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    )
    if not body:
        return NOTHING
    head = format_html_join("", "<th>{}</th>", ((heading,) for heading in headings))
    return format_html(
        '<div class="c-table-wrap"><table class="c-table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        head,
        body,
    )
