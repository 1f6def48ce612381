"""What an operator may do now with AuthorizationKeys and narrow doors, and what it would mean."""

from datetime import datetime

from inventory.actors import Actor
from inventory.choices import KeyPath, SubjectKind
from inventory.models import ChargerFamily, ManagedIdentity
from inventory.services.actions import AvailableAction, offered
from inventory.words import actor_words
from migration.models import KnownDefaultKey, RecoveryDoor
from migration.services import key_paths, recovery, renewal_door
from migration.services.key_states import PROFILE_2


def for_identity(identity: ManagedIdentity, actor: Actor, now: datetime) -> list[AvailableAction]:
    """The verbs of a charger; the services look at its keys when they are used."""
    if identity.kind != SubjectKind.CHARGER:
        return []
    who = identity.authoritative_identifier
    disabled = "" if identity.enabled else "The identity is disabled."
    moved_up = identity.security_profile > PROFILE_2
    falls_back = identity.fallback_until is not None and identity.fallback_until > now
    open_door = moved_up and recovery.has_open_door(identity)
    costs = recovery.what_it_costs(identity, now) if moved_up else None
    no_door = (
        disabled
        or ("" if moved_up else f"{who} is not on Profile 3; set or rotate its AuthorizationKey instead.")
        or (f"{who} has an open door already; close that one first." if open_door else "")
        or (f"{who} may come in on a lower profile already." if falls_back else "")
    )
    return [
        offered(
            "rotate_key",
            "Rotate the AuthorizationKey",
            f"{who} is sent a new key and comes back with it; it may restart. Its present key works until the new one "
            "is in use, and through the rollback window after that.",
            actor=actor,
            permission="migration.rotate_authorizationkey",
            obstacle=disabled
            or (
                f"{who} is on Profile {identity.security_profile}: a new key could not be proved there."
                if moved_up and not falls_back
                else ""
            ),
        ),
        offered(
            "flag_key",
            "Mark the AuthorizationKey for rotation",
            f"The key of {who} counts as in need of rotation from now on. Nothing else changes.",
            actor=actor,
            permission="migration.flag_authorizationkey",
            obstacle="",
        ),
        offered(
            "open_door",
            "Open a narrow door with a fresh key",
            f"{who} is let in on Profile 2 with the key below, and with no other, until the time you name or until it "
            "is back on Profile 3. The key is shown on this page only: note it now, and set it on the charger."
            + (f" {costs}" if costs else ""),
            actor=actor,
            permission="migration.open_recoverydoor",
            obstacle=no_door,
            dangerous=True,
        ),
        offered(
            "open_renewal_door",
            "Open a narrow door for its renewal",
            f"{who} is let in with the certificate that it used last, which has expired, until the time you name or "
            "until it is back with a new one. It is asked for a request at once, and can do nothing but renew.",
            actor=actor,
            permission="migration.open_recoverydoor",
            obstacle=no_door or (renewal_door.why_no_certificate(identity, now) or ""),
            dangerous=True,
        ),
        offered(
            "close_door",
            "Close the narrow door",
            f"What the door let {who} in with is refused from now on, and a session with it ends.",
            actor=actor,
            permission="migration.close_recoverydoor",
            obstacle="" if open_door else f"{who} has no open door.",
            dangerous=True,
        ),
    ]


def for_door(door: RecoveryDoor, actor: Actor) -> list[AvailableAction]:
    """The verb of a narrow door."""
    who = door.identity.authoritative_identifier
    return [
        offered(
            "close",
            "Close",
            f"What the door let {who} in with is refused from now on, and a session with it ends.",
            actor=actor,
            permission="migration.close_recoverydoor",
            obstacle="" if door.closed_at is None else f"The door is closed already: {door.closing}.",
            dangerous=True,
        )
    ]


def for_default_key(entry: KnownDefaultKey, actor: Actor) -> list[AvailableAction]:
    """The verb of a vendor's default key."""
    return [
        offered(
            "remove",
            "Take off the list",
            f"Chargers that use “{entry.label}” are not found by it any more. Nothing else changes for them.",
            actor=actor,
            permission="migration.delete_knowndefaultkey",
            obstacle="",
        )
    ]


def for_family(family: ChargerFamily, actor: Actor) -> list[AvailableAction]:
    """The verbs of a family's key path: approving it once a charger came through, and taking that back."""
    approved = family.key_path != KeyPath.UNAPPROVED
    canary = None if approved else key_paths.evidence_for(family)
    came_through = (
        f" {canary.key.identity.authoritative_identifier} came through with key {canary.key.version}." if canary else ""
    )
    return [
        offered(
            "approve_key_path",
            "Approve the key path",
            f"The chargers of {family} may be given new AuthorizationKeys in bulk from now on.{came_through}",
            actor=actor,
            permission=key_paths.PERMISSION,
            obstacle=f"The key path is approved already, by {actor_words(family.key_path_approved_by)}."
            if approved
            else ("" if canary else key_paths.no_evidence(family)),
        ),
        offered(
            "withdraw_key_path",
            "Withdraw the approval of the key path",
            f"The chargers of {family} are given new AuthorizationKeys one at a time again. Who is under way goes on.",
            actor=actor,
            permission=key_paths.PERMISSION,
            obstacle="" if approved else "The key path is not approved.",
        ),
    ]
