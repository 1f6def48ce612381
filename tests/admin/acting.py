"""Giving an action in the console as a person does."""

import re
from html import unescape
from typing import Any

from django.db.models import Model
from django.test import Client
from django.urls import reverse

REASON = "The cabinet was opened"


def address(target: Model, verb: str) -> str:
    return reverse(f"admin:{target._meta.app_label}_{target._meta.model_name}_do", args=[target.pk, verb])


def hidden(page: Any) -> dict[str, str]:
    """What the form carries unseen."""
    text = page.content.decode()
    found = dict(re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"', text))
    return {name: found[name] for name in ("idempotency_key", "version")}


def do(console: Client, target: Model, verb: str, **typed: Any) -> Any:
    """Open the page of a verb, fill it in, send it."""
    url = address(target, verb)
    return console.post(url, {"reason": REASON, **hidden(console.get(url)), **typed})


def told(console: Client, response: Any) -> str:
    """The page that the operator sees after an action."""
    assert response.status_code == 302, response.content.decode()
    return unescape(console.get(response.headers["Location"]).content.decode())
