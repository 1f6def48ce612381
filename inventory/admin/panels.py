"""Panels that apps above the inventory add to the page of an identity, such as its AuthorizationKeys."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from inventory.models import ManagedIdentity


@dataclass(frozen=True, slots=True)
class Panel:
    """One card: a title, a template and its context."""

    title: str
    template: str
    context: dict[str, Any] = field(default_factory=dict)


PanelMaker = Callable[[ManagedIdentity, HttpRequest, datetime], Panel | None]

_makers: list[PanelMaker] = []


def register_identity_panel(maker: PanelMaker) -> None:
    """Add a panel; the maker returns None where it has nothing for this identity or this person."""
    if maker not in _makers:
        _makers.append(maker)


def identity_panels(identity: ManagedIdentity, request: HttpRequest, now: datetime) -> list[Panel]:
    """The panels of an identity that this person may see."""
    made = (maker(identity, request, now) for maker in _makers)
    return [panel for panel in made if panel is not None]
