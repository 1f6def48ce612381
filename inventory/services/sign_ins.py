"""Failed sign-ins of people and programs, as security events; a flood of them fills no table.

What was typed as a user name is kept only where such an account exists: people type their passwords there.
"""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest
from django.utils import timezone

from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.services.rate_limits import take
from inventory.services.security_events import record_security_event

AT_ONCE = 5
THEN_EVERY = timedelta(minutes=1)
"""So many failures of one account, or of names that are none, are recorded at once, then one in so long."""


def record_failure(name: str, *, address: str | None, now: datetime) -> None:
    """Record that a sign-in failed, unless too many of the same account have been recorded lately.

    :param name: what was typed as the user name.
    """
    account = User.objects.filter(username=name).only("username", "is_active").first()
    limit = f"sign-in:{account.pk if account else 'unknown'}"
    if take(limit, per_second=1 / THEN_EVERY.total_seconds(), burst=AT_ONCE, now=now) is not None:
        return
    if account is None:
        message = "Somebody tried to sign in under a user name that does not exist."
    elif account.is_active:
        message = f"Somebody failed to sign in as {account.username}: the password was wrong."
    else:
        message = f"Somebody tried to sign in as {account.username}; that account is deactivated."
    record_security_event(
        "SignInFailed",
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.WARNING,
        source=SecuritySource.OPERATOR,
        message=message,
        now=now,
        address=address,
        payload={"user": account.username if account else None},
    )


def _failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **more: Any) -> None:
    address = request.META.get("REMOTE_ADDR") if request is not None else None
    record_failure(str(credentials.get("username", "")), address=address or None, now=timezone.now())


def connect() -> None:
    """Called once, when the app is ready."""
    user_login_failed.connect(_failed, dispatch_uid="inventory.sign_ins")
