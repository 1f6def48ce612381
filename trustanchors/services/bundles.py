"""Making bundles: drafts of the next version of a purpose's anchors."""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime

from django.db import connection
from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InvalidInputError
from inventory.purposes import PURPOSE_CHOICES, purpose
from inventory.services.command import command
from trustanchors.choices import BundleState
from trustanchors.errors import BundleRefusedError
from trustanchors.models import BundleAnchor, TrustAnchor, TrustAnchorBundle

MOST_ANCHORS = 20
LONGEST_ID = 18
"""Digits."""
_PRINTED = re.compile(r"(?P<purpose>.+?)(?: anchors)?,? (?:version )?(?P<version>\d{1,9})", re.IGNORECASE)


def named(text: str) -> TrustAnchorBundle:
    """A bundle by its number, or as it is printed: “Charger identity anchors, version 2”.

    :raises InvalidInputError: when there is none.
    """
    wanted = " ".join(text.split())
    if wanted.isascii() and wanted.isdigit() and len(wanted) <= LONGEST_ID:
        found = TrustAnchorBundle.objects.filter(pk=int(wanted)).first()
    else:
        found = _as_printed(wanted)
    if found is None:
        raise InvalidInputError(
            f"There is no bundle {text[:100]!r}; give its number, or its name as “Charger identity anchors, version 2”."
        )
    return found


def _as_printed(text: str) -> TrustAnchorBundle | None:
    printed = _PRINTED.fullmatch(text)
    if printed is None:
        return None
    wanted = printed["purpose"].casefold()
    keys = [key for key, label in PURPOSE_CHOICES if wanted in (key.casefold(), label.casefold())]
    return TrustAnchorBundle.objects.filter(purpose__in=keys, version=int(printed["version"])).first()


def draft(
    *,
    purpose_key: str,
    anchors: Sequence[TrustAnchor],
    note: str = "",
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> TrustAnchorBundle:
    """Make the next version of a purpose's bundle, as a draft.

    :raises BundleRefusedError: when an anchor stands in it twice, has expired, or is of another purpose.
    """
    now = now or timezone.now()
    with command(actor, "trustanchors.add_trustanchorbundle", reason):
        entry = purpose(purpose_key)
        check(anchors, entry.key, now)
        _lock_versions(entry.key)
        newest = TrustAnchorBundle.objects.filter(purpose=entry.key).order_by("-version").first()
        bundle = TrustAnchorBundle(
            purpose=entry.key,
            version=newest.version + 1 if newest else 1,
            note=note.strip(),
            digest=digest_of(anchors),
            created_at=now,
        )
        bundle.save()
        _place(bundle, anchors)
    return bundle


def change(
    *,
    bundle: TrustAnchorBundle,
    anchors: Sequence[TrustAnchor],
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> TrustAnchorBundle:
    """Give a draft other anchors, or another order.

    :raises BundleRefusedError: when it is no draft any more: what was released never changes.
    """
    now = now or timezone.now()
    with command(actor, "trustanchors.change_trustanchorbundle", reason):
        locked = lock(bundle.pk)
        if locked.state != BundleState.DRAFT:
            raise BundleRefusedError(
                f"{locked} is {locked.get_state_display().lower()} and never changes. Make the next version instead."
            )
        check(anchors, locked.purpose, now)
        locked.places.all().delete()
        _place(locked, anchors)
        locked.digest = digest_of(anchors)
        locked.save()
    return locked


def lock(bundle_id: int) -> TrustAnchorBundle:
    """The bundle, locked until the end of the transaction."""
    return TrustAnchorBundle.objects.select_for_update().get(pk=bundle_id)


def check(anchors: Sequence[TrustAnchor], purpose_key: str, now: datetime) -> None:
    """Refuse anchors that cannot stand together in a bundle of this purpose.

    :raises BundleRefusedError: naming the anchor.
    """
    if not anchors:
        raise BundleRefusedError("A bundle needs at least one anchor: without any, a charger would trust nobody.")
    if len(anchors) > MOST_ANCHORS:
        raise BundleRefusedError(f"{len(anchors)} anchors are more than any station holds; put in {MOST_ANCHORS}.")
    seen: set[int] = set()
    for anchor in anchors:
        if anchor.pk in seen:
            raise BundleRefusedError(f"{anchor} stands in the bundle twice. Take one of them out.")
        seen.add(anchor.pk)
        if anchor.purpose != purpose_key:
            raise BundleRefusedError(
                f"{anchor} is an anchor of {anchor.get_purpose_display()}. Trust domains never mix: bundles stay one "
                "per purpose."
            )
        check_valid(anchor, now)


def check_valid(anchor: TrustAnchor, now: datetime) -> None:
    """Refuse an anchor that has ended.

    :raises BundleRefusedError: naming it, and when.
    """
    if anchor.not_after <= now:
        raise BundleRefusedError(
            f"{anchor} ended on {anchor.not_after:%Y-%m-%d}; stations refuse it. Take it out, or put its successor in."
        )


def digest_of(anchors: Sequence[TrustAnchor]) -> str:
    """What a version holds, in one value: SHA-256 over the fingerprints in their order."""
    return hashlib.sha256("|".join(anchor.fingerprint for anchor in anchors).encode()).hexdigest()


def _place(bundle: TrustAnchorBundle, anchors: Sequence[TrustAnchor]) -> None:
    BundleAnchor.objects.bulk_create(
        [BundleAnchor(bundle=bundle, anchor=anchor, position=number) for number, anchor in enumerate(anchors, 1)]
    )


def _lock_versions(purpose_key: str) -> None:
    """One version after the other: there is no row yet that could be locked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"trustanchors:bundle:{purpose_key}"])
