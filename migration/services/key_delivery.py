"""Taking a new AuthorizationKey to its charger: asking, asking again, and waiting for it to come back.

The new key opens the door before the request leaves, because a charger may be back with it before its answer is stored
(conformance 10). A lost answer is asked for again with the same key.
"""

from collections.abc import Sequence, Set
from datetime import datetime, timedelta
from typing import Final

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import StationSession
from inventory import seams
from inventory.models import LifecyclePolicy, ManagedIdentity
from inventory.services import absences, caps, policies
from migration.key_choices import OPEN_STAGES, KeyState, RotationStage
from migration.models import KeyRotation
from migration.services import key_states

WATCHED_AHEAD: Final = timedelta(days=2)
NOT_REACHED: Final = "The charger was not reachable before the deadline; its present key stays."
LONGEST_ABSENCE: Final = timedelta(minutes=15)
"""After that its site's place is free again, should the charger not have come back."""
ASK_AGAIN: Final = timedelta(minutes=1)
"""Where the site could not spare it."""


def policy_of(identity: ManagedIdentity) -> LifecyclePolicy:
    return policies.resolve(identity, "authorization_key").policy


def deliver(rotation: KeyRotation, policy: LifecyclePolicy, now: datetime) -> None:
    """Ask once more, with the very same key: a charger that has it already changes nothing."""
    key = rotation.key
    if not is_connected(key.identity):
        _await_its_coming(rotation, now)
        return
    if not may_leave(rotation, now):
        rotation.detail = why_it_stays(rotation, now)
        ask_again(rotation, now)
        return
    rotation.deliveries += 1
    rotation.stage = RotationStage.DELIVERING
    rotation.other_session = rotation.booted_without_at = None
    # Not sent while it has its place of the site, it is asked for once more: it may leave at once when it is taken.
    expires_after = min(policy.delivery_deadline, LONGEST_ABSENCE)
    rotation.next_step_at = now + expires_after + 2 * outbox.ANSWER_GRACE
    rotation.save()
    reference = key_states.reference(key, "deliver")
    outbox.enqueue(
        station_id=key.identity.authoritative_identifier,
        action=Action.SET_AUTHORIZATION_KEY,
        payload=canonical.set_authorization_key(),
        secret_payload=bytes(rotation.sealed_secret) if rotation.sealed_secret is not None else None,
        dedupe_key=f"{reference}:{rotation.deliveries}",
        now=now,
        expires_after=expires_after,
        reference=reference,
    )
    seams.watch_connections(key.identity, rotation.give_up_at)


def deliver_by(rotation: KeyRotation) -> datetime:
    """Until when a key that was never sent is still sent."""
    return rotation.started_at + policy_of(rotation.key.identity).delivery_deadline


def ask_again(rotation: KeyRotation, now: datetime) -> None:
    """Its site cannot spare it, or could no longer."""
    rotation.stage = RotationStage.RETRYING
    rotation.next_step_at = now + ASK_AGAIN
    rotation.save()


def _await_its_coming(rotation: KeyRotation, now: datetime) -> None:
    """A charger that is away is asked when it comes, because only then its site can say whether it may leave."""
    until = deliver_by(rotation)
    if now < until:
        rotation.stage = RotationStage.RETRYING
        rotation.detail = "The charger is not connected; the key is sent when it comes."
        rotation.next_step_at = until
        rotation.save()
        seams.watch_connections(rotation.key.identity, rotation.give_up_at)
    elif rotation.may_be_stored:
        await_connection(rotation, now)
    else:
        key_states.fail(rotation.key, NOT_REACHED, now)


def may_leave(rotation: KeyRotation, now: datetime) -> bool:
    """Whether the site can spare the charger for a moment; ask only while it is connected."""
    until = now + LONGEST_ABSENCE + caps.TAKEN_AT_THE_LAST_MOMENT
    return caps.take(rotation.key.identity, _place(rotation), until, now)


def why_it_stays(rotation: KeyRotation, now: datetime) -> str:
    """Why its site cannot spare it: who of it is away."""
    return f"The charger waits for a free place: {absences.why_not(rotation.key.identity, _place(rotation), now)}."


def was_not_sent(rotation: KeyRotation, now: datetime) -> None:
    """It did not leave, so its place is for others; it is asked again when it may."""
    caps.give_back(rotation.key.identity, now, _place(rotation))
    ask_again(rotation, now)


def leaves(rotation: KeyRotation, now: datetime) -> None:
    """It has taken the key, and may leave by itself from now on."""
    caps.keep(rotation.key.identity, _place(rotation), now + LONGEST_ABSENCE)


def _place(rotation: KeyRotation) -> str:
    return f"key:{rotation.key_id}"


def lock_open(identity: ManagedIdentity) -> KeyRotation | None:
    """The open rotation of an identity that the caller has locked."""
    rotation = (
        KeyRotation.objects.select_for_update(of=("self", "key"))
        .select_related("key")
        .filter(key__identity_id=identity.pk, key__state=KeyState.PENDING, stage__in=OPEN_STAGES)
        .first()
    )
    if rotation is not None:
        rotation.key.identity = identity
    return rotation


def await_connection(rotation: KeyRotation, restart_at: datetime) -> None:
    rotation.stage = RotationStage.RECONNECTING
    rotation.sealed_secret = None
    rotation.next_step_at = restart_at
    rotation.save()
    seams.watch_connections(rotation.key.identity, max(rotation.give_up_at, restart_at + WATCHED_AHEAD))


def outcome_unknown(rotation: KeyRotation, now: datetime) -> None:
    """No clear answer: it may have the key or not. The same key is sent again, and both stay open."""
    policy = policy_of(rotation.key.identity)
    rotation.may_be_stored = True
    if rotation.deliveries >= policy.retry_attempts:
        await_connection(rotation, now)
        return
    rotation.stage = RotationStage.RETRYING
    rotation.next_step_at = now + policies.retry_delay(policy, rotation.deliveries)
    rotation.save()


def is_connected(identity: ManagedIdentity) -> bool:
    return bool(connected_of([identity]))


def connected_of(identities: Sequence[ManagedIdentity]) -> set[str]:
    """The authoritative identifiers of those of these chargers that are connected."""
    stations = [identity.authoritative_identifier for identity in identities]
    present = StationSession.objects.filter(station_id__in=stations, closed_at__isnull=True)
    return set(present.values_list("station_id", flat=True))


def open_references(references: Set[str]) -> Set[str]:
    """Of what follows the kind in references of commands, those whose rotation is open: the retention keeps them."""
    keys = {reference: reference.partition(":")[0] for reference in references}
    identifiers = [int(key) for key in keys.values() if key.isdigit()]
    still_open = set(
        KeyRotation.objects.filter(key_id__in=identifiers, stage__in=OPEN_STAGES).values_list("key_id", flat=True)
    )
    return {reference for reference, key in keys.items() if key.isdigit() and int(key) in still_open}
