"""What an operator may do now with a charger's AuthorizationKeys, and what it would mean."""

from datetime import datetime

from inventory.actors import Actor
from inventory.choices import KeyPath, SubjectKind
from inventory.models import ChargerFamily, ManagedIdentity
from inventory.services.actions import AvailableAction, offered
from migration.services import key_paths
from migration.services.key_states import PROFILE_2


def for_identity(identity: ManagedIdentity, actor: Actor, now: datetime) -> list[AvailableAction]:
    """The verbs of a charger; the services look at its keys when they are used."""
    if identity.kind != SubjectKind.CHARGER:
        return []
    who = identity.authoritative_identifier
    disabled = "" if identity.enabled else "The identity is disabled."
    moved_up = identity.security_profile > PROFILE_2
    falls_back = identity.fallback_until is not None and identity.fallback_until > now
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
                f"It is on Profile {identity.security_profile}: a new key could not be proved there."
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
            "Open a narrow door",
            f"{who} is let in on Profile 2 with the key below, and with no other, until the time you name or until it "
            "is back on Profile 3. The key is shown on this page only: note it now, and set it on the charger.",
            actor=actor,
            permission="migration.open_recoverydoor",
            obstacle=disabled
            or ("" if moved_up else "It is not on Profile 3; set or rotate its AuthorizationKey instead.")
            or ("It may come in on a lower profile already." if falls_back else ""),
            dangerous=True,
        ),
        offered(
            "close_door",
            "Close the narrow door",
            f"{who} is refused on Profile 2 from now on; its key for the door ends, and so does a session with it.",
            actor=actor,
            permission="migration.close_recoverydoor",
            obstacle="" if moved_up and identity.fallback_until is not None else "It has no open door.",
            dangerous=True,
        ),
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
            obstacle=f"It is approved already, by {family.key_path_approved_by}."
            if approved
            else ("" if canary else key_paths.no_evidence(family)),
        ),
        offered(
            "withdraw_key_path",
            "Withdraw the approval of the key path",
            f"The chargers of {family} are given new AuthorizationKeys one at a time again. Who is under way goes on.",
            actor=actor,
            permission=key_paths.PERMISSION,
            obstacle="" if approved else "It is not approved.",
        ),
    ]
