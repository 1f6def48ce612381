"""What this operator may do now, with this object, and what it would mean: for admin, API and people."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from inventory.actors import Actor
from inventory.choices import REVOCABLE_STATES, OperatingMode, RecordState, SourceOfTruth, SubjectKind
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import holding, lockouts, operating_modes
from inventory.services.operating_modes import Verb

LOCKED_OUT = (
    "It is locked out: on Profile 3 with no working certificate, it cannot connect. Open a narrow door for it, or "
    "paste a CSR taken on site under “Issue a certificate”."
)

NEEDS_A_DOOR = (
    "It is locked out: on Profile 3 with no working certificate, no password opens its door. Open a narrow door for "
    "it, which brings a key of its own."
)


@dataclass(frozen=True, slots=True)
class AvailableAction:
    """One verb: whether it is allowed now, why not, what it will do, what cannot be undone."""

    verb: str
    label: str
    allowed: bool
    why_not: str
    explanation: str
    dangerous: bool = False


def offered(
    verb: str,
    label: str,
    explanation: str,
    *,
    actor: Actor,
    permission: str,
    obstacle: str,
    dangerous: bool = False,
) -> AvailableAction:
    """A verb: allowed where nothing is in the way and the actor has its permission."""
    why_not = obstacle
    if not why_not and not actor.may(permission):
        why_not = f"You lack the permission “{permission}”."
    return AvailableAction(verb, label, not why_not, why_not, explanation, dangerous)


def _needs_state(record: CertificateRecord, *states: str) -> str:
    if record.state in states:
        return ""
    names = " or ".join(RecordState(state).label.lower() for state in states)
    return f"Only possible while it is {names}."


def _who_is_told(record: CertificateRecord) -> str:
    if record.mode == OperatingMode.MANAGED:
        return "the CA is told after that."
    return (
        f"{record.responsible_authority or 'its external authority'} is responsible and is not told by us: use this "
        "for what it has revoked, and have it revoked there otherwise."
    )


def for_record(record: CertificateRecord, actor: Actor, now: datetime) -> list[AvailableAction]:
    """The verbs of a certificate record."""
    who = record.identity.authoritative_identifier
    expired = record.not_after is not None and record.not_after <= now
    last_way_in = lockouts.is_last_way_in(record, now)
    offer = partial(offered, actor=actor)
    return [
        offer(
            "renew",
            "Renew",
            f"{who} makes a new key and gets a new certificate. The present one works until the new one is in use.",
            permission="renew_certificaterecord",
            obstacle=_needs_state(record, RecordState.ACTIVE) or operating_modes.why_not(Verb.RENEW, record),
        ),
        offer(
            "install",
            "Deliver again",
            f"The issued certificate is sent to {who} once more.",
            permission="install_certificaterecord",
            obstacle=_needs_state(record, RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION)
            or operating_modes.why_not(Verb.INSTALL, record)
            or ("" if record.kept == SourceOfTruth.WHOLE_CHAIN else "Only its lifecycle is stored here."),
        ),
        offer(
            "deactivate",
            "Deactivate",
            f"{who} is refused with this certificate at once; it can be reactivated."
            + (" This is its last working certificate: it is locked out until then." if last_way_in else ""),
            permission="deactivate_certificaterecord",
            obstacle=_needs_state(record, RecordState.ACTIVE) or operating_modes.why_not(Verb.DEACTIVATE, record),
            dangerous=True,
        ),
        offer(
            "reactivate",
            "Reactivate",
            "The certificate opens the door again, and becomes active when it is next seen in use.",
            permission="reactivate_certificaterecord",
            obstacle=_needs_state(record, RecordState.INACTIVE)
            or ("The certificate has expired." if expired else "")
            or operating_modes.why_not(Verb.REACTIVATE, record),
        ),
        offer(
            "revoke",
            "Revoke",
            f"{who} is thrown off at once and refused with this certificate from then on; "
            + _who_is_told(record)
            + " This cannot be undone."
            + (
                " This is its last working certificate: it is locked out until somebody brings it back on site."
                if last_way_in
                else ""
            ),
            permission="revoke_certificaterecord",
            obstacle=_needs_state(record, *REVOCABLE_STATES),
            dangerous=True,
        ),
        offer(
            "delete",
            "Delete",
            "The certificate leaves the living inventory. The record, its events and its history stay for the audit.",
            permission="delete_certificaterecord",
            obstacle=_needs_state(
                record, RecordState.REQUESTED, RecordState.INACTIVE, RecordState.RETIRED, RecordState.REVOKED
            ),
            dangerous=True,
        ),
    ]


def _forecast_of(identity: ManagedIdentity, actor: Actor, now: datetime, *, asked: bool) -> str:
    """What is foreseen of a cut-over that is possible."""
    if not asked:
        return ""
    against = holding.foreseen(identity, now)
    if not against:
        return " Forecast: nothing speaks against that it comes back."
    allowed = "override that with your reason" if holding.may_override_forecast(actor) else "have it overridden"
    return f" Forecast: {against}. So it is refused: mend what is named, or {allowed}."


IdentityActions = Callable[[ManagedIdentity, Actor, datetime], list[AvailableAction]]

_of_floors_above: list[IdentityActions] = []


def add_identity_actions(provider: IdentityActions) -> None:
    """Offer the verbs that an app above has for identities, after our own; they are asked for one at a time."""
    if provider not in _of_floors_above:
        _of_floors_above.append(provider)


def for_identity(identity: ManagedIdentity, actor: Actor, now: datetime) -> list[AvailableAction]:
    """The verbs of an identity."""
    more = [action for provider in _of_floors_above for action in provider(identity, actor, now)]
    return [*_for_identity(identity, actor, now), *more]


def _for_identity(identity: ManagedIdentity, actor: Actor, now: datetime) -> list[AvailableAction]:
    who = identity.authoritative_identifier
    disabled = "" if identity.enabled else "The identity is disabled."
    not_charger = "" if identity.kind == SubjectKind.CHARGER else "Only chargers take OCPP commands."
    offer = partial(offered, actor=actor)
    usable = (
        identity.kind == SubjectKind.CHARGER
        and not lockouts.depends_on_certificate(identity, now)
        and CertificateRecord.objects.of(identity.pk, CHARGER_IDENTITY.key)
        .usable_at(now)
        .filter(state__in=[RecordState.ACTIVE, RecordState.INSTALLED_PENDING_ACTIVATION])
        .exists()
    )
    locked_out = lockouts.is_locked_out(identity, now)
    only_renews = locked_out and lockouts.may_renew(identity, now)
    unreachable = disabled or not_charger or (LOCKED_OUT if locked_out else "")
    asked_for_renewal = disabled or not_charger or (LOCKED_OUT if locked_out and not only_renews else "")
    return [
        offer(
            "issue",
            "Issue a certificate",
            f"{who} is locked out and cannot be asked: paste a certificate signing request that was taken on site. It "
            "gets a certificate for it, to be installed there."
            if locked_out and not only_renews
            else f"{who} is asked for a certificate signing request, and gets a certificate for it.",
            permission="issue_certificaterecord",
            obstacle=disabled or ("" if identity.possible_purposes() else f"{who} may not hold any certificates."),
        ),
        offer(
            "register",
            "Register a certificate of others",
            f"A certificate that others issued for {who} is taken into the inventory, with what shows how far it is. "
            "As much of it is stored as its ownership decision allows.",
            permission="register_certificaterecord",
            obstacle="" if identity.possible_purposes() else "It may not hold any certificates.",
        ),
        offer(
            "cut_over",
            "Cut over to Profile 3",
            f"{who} is told to connect with its certificate, and restarts. It keeps its way back until that works."
            + _forecast_of(identity, actor, now, asked=usable and not disabled),
            permission="cutover_managedidentity",
            obstacle=disabled
            or not_charger
            or (f"{who} is on Profile 3 already." if lockouts.depends_on_certificate(identity, now) else "")
            or ("" if usable else f"{who} has no installed certificate to come back with; issue one first."),
            dangerous=True,
        ),
        offer(
            "request_csr",
            "Ask for a CSR",
            f"{who} is asked for a certificate signing request; what it sends is signed.",
            permission="command_managedidentity",
            obstacle=asked_for_renewal,
        ),
        offer(
            "list_certificates",
            "List installed certificates",
            f"{who} is asked what it has installed.",
            permission="command_managedidentity",
            obstacle=asked_for_renewal,
        ),
        offer(
            "install_trust_anchors",
            "Install trust anchors",
            f"{who} is sent the roots of its own and of our server's certificates.",
            permission="command_managedidentity",
            obstacle=asked_for_renewal,
        ),
        offer(
            "fetch_security_log",
            "Fetch the security log",
            f"{who} is asked to upload its security log; it is kept among the artifacts with its digest.",
            permission="command_managedidentity",
            obstacle=unreachable,
        ),
        offer(
            "reset",
            "Restart",
            f"{who} restarts when it is idle.",
            permission="command_managedidentity",
            obstacle=asked_for_renewal,
            dangerous=True,
        ),
        offer(
            "set_password",
            "Set the AuthorizationKey",
            _what_a_key_does(identity, now),
            permission="migration.set_authorizationkey",
            obstacle=disabled or not_charger or (NEEDS_A_DOOR if locked_out else ""),
            dangerous=True,
        ),
        offer(
            "disable" if identity.enabled else "enable",
            "Disable" if identity.enabled else "Enable",
            f"{who} is refused at every door and its session is closed; it can be enabled again."
            if identity.enabled
            else f"{who} is let in again with what it has.",
            permission="change_managedidentity",
            obstacle="",
            dangerous=identity.enabled,
        ),
    ]


def _what_a_key_does(identity: ManagedIdentity, now: datetime) -> str:
    who = identity.authoritative_identifier
    if lockouts.depends_on_certificate(identity, now):
        return (
            f"{who} is on Profile 3, where no password opens its door: the key is kept for its return to Profile 2. "
            "Nothing is sent to it."
        )
    return (
        f"{who} is let in on Profile 2 with this key from now on, and with no other: the former one stops working, and "
        f"{who} is thrown off at once if it came in with that. Nothing is sent to it: with a key that it does not "
        "have, it stays out until somebody sets that key on site. To send it a new one, rotate the key."
    )
