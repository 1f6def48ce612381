"""Which family a charger belongs to: by what it says of itself when it boots."""

import re
from datetime import datetime

from inventory import seams
from inventory.audit import current_attribution
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.models import ChargerFamily, ManagedIdentity
from inventory.services import boot_changes
from inventory.services.security_events import record_security_event

_PARTS = re.compile(r"\d+|[a-z]+")


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """What firmware versions are ordered by: numbers as numbers, words as words, and a word before no word.

    So 1.10 comes after 1.9, and 2.0-rc1 before 2.0. Separators and capitals mean nothing, nor do a v in front, and
    zeros with no further number after them.
    """
    parts = _PARTS.findall(version.strip().lower().removeprefix("v"))
    key: list[tuple[int, int, str]] = []
    for part in [*parts, ""]:
        if part.isdigit():
            key.append((2, int(part), ""))
            continue
        while key and key[-1] == (2, 0, ""):
            key.pop()
        key.append((0, 0, part) if part else (1, 0, ""))
    return tuple(key)


def match(vendor: str, model: str, firmware: str) -> ChargerFamily | None:
    """The family of a station; where ranges overlap, the one that begins latest.

    :param firmware: a station that does not tell its own belongs to no family with a range.
    """
    found = [
        family
        for family in ChargerFamily.objects.filter(vendor__iexact=vendor.strip(), model__iexact=model.strip())
        if contains(family, firmware)
    ]
    return max(found, key=lambda family: (version_key(family.firmware_from), -family.pk), default=None)


def contains(family: ChargerFamily, firmware: str) -> bool:
    """Whether a firmware version is within a family's range, both ends included."""
    if not family.firmware_from and not family.firmware_to:
        return True
    if not firmware.strip():
        return False
    version = version_key(firmware)
    if family.firmware_from and version < version_key(family.firmware_from):
        return False
    return not family.firmware_to or version <= version_key(family.firmware_to)


def booted(boot: seams.Boot) -> None:
    """Put a charger into the family that fits what it says; the identity is locked.

    One that nobody described stays where a person has put it, unless that family is of this very model, and the
    firmware has left its range: what the family can do is then not known of the charger.
    """
    if not boot.vendor or not boot.model:
        return
    identity = boot.identity
    firmware = boot.firmware_version or identity.firmware_version
    family, former = match(boot.vendor, boot.model, firmware), identity.family
    if family is None and former is not None and not _of_model(former, boot.vendor, boot.model):
        return
    if (family.pk if family else None) == identity.family_id:
        return
    identity.family = family
    if boot_changes.save(identity, ["family_id"], boot.at):
        _report(identity, former, family, boot, firmware, boot.at)


def _of_model(family: ChargerFamily, vendor: str, model: str) -> bool:
    return (family.vendor.casefold(), family.model.casefold()) == (vendor.strip().casefold(), model.strip().casefold())


def _report(
    identity: ManagedIdentity,
    former: ChargerFamily | None,
    family: ChargerFamily | None,
    boot: seams.Boot,
    firmware: str,
    now: datetime,
) -> None:
    who, what = identity.authoritative_identifier, f"{boot.vendor} {boot.model}, firmware {firmware or 'not told'}"
    if former is None:
        message = f"{who} belongs to the family “{family}”: it is a {what}."
    elif family is None:
        message = f"{who} left the family “{former}”: it is a {what} now, which no family covers. Describe one."
    else:
        message = f"{who} changed from the family “{former}” to “{family}”: it is a {what} now."
    record_security_event(
        "FamilyChanged",
        category=SecurityCategory.PLATFORM,
        severity=Severity.INFO if former is None else Severity.WARNING,
        source=SecuritySource.CHARGER,
        message=message,
        now=now,
        identity=identity,
        session_id=boot.session_id or None,
        payload={"before": former.name if former else "", "after": family.name if family else ""},
        correlation_id=current_attribution().correlation_id,
    )


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_boot(booted)
