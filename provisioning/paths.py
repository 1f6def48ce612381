"""The registry of paths: for which purposes each is, what it asks for first, and whose word decides on it.

A prerequisite is judged from facts that we have, or confirmed by a person with a reason, because it happens out of our
sight. Another path is another entry here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from bfcerts.ocpp.models import StationSession
from inventory.choices import Capability, KeyOwner, OperatingMode, SubjectKind
from inventory.errors import InvalidInputError
from inventory.models import FamilyCapability, ManagedIdentity
from inventory.ownership import Ownership
from inventory.purposes import (
    ISO15118_CONTRACT,
    ISO15118_EVSE_LEAF,
    ISO15118_OEM_PROVISIONING,
    VEHICLE_VAS_IDENTITY,
)
from provisioning.choices import CaseState, ExternalSystem, PathKey
from provisioning.models import ProvisioningCase
from trustanchors.choices import CONFIRMED_STATES
from trustanchors.models import BundleInstallation, TrustAnchor


@dataclass(frozen=True, slots=True)
class Facts:
    """What a prerequisite is judged from."""

    case: ProvisioningCase
    identity: ManagedIdentity
    ownership: Ownership
    now: datetime

    @property
    def charger(self) -> ManagedIdentity:
        """The charger that an EVSE belongs to; the identity itself otherwise."""
        return self.identity.parent or self.identity


@dataclass(frozen=True, slots=True)
class Finding:
    """How a prerequisite stands."""

    met: bool
    why: str


Judge = Callable[[Facts], Finding]


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """Something that a path asks for before it delivers."""

    key: str
    words: str
    judge: Judge | None = None
    """None: a person confirms it, with a reason."""

    @property
    def confirmed_by_a_person(self) -> bool:
        return self.judge is None


@dataclass(frozen=True, slots=True)
class Path:
    """One way to provision."""

    key: PathKey
    purposes: frozenset[str]
    authorities: frozenset[str]
    """The systems whose word decides here; a person's does where that person may attest it."""
    prerequisites: tuple[Prerequisite, ...]
    note: str = ""
    """What an operator has to know of this path."""
    deadlines: dict[str, timedelta] = field(
        default_factory=lambda: {
            CaseState.PREREQUISITE: timedelta(days=30),
            CaseState.DELIVERY: timedelta(days=7),
            CaseState.PENDING_ACTIVATION: timedelta(days=14),
        }
    )
    """How long a case may stay in each state that goes on by itself."""


def _enabled(facts: Facts) -> Finding:
    who = facts.identity.authoritative_identifier
    return Finding(facts.identity.enabled, f"{who} is {'enabled' if facts.identity.enabled else 'disabled'}.")


def _decided(facts: Facts) -> Finding:
    if facts.ownership.complete:
        return Finding(True, "Its ownership decision is complete.")
    missing = ", ".join(facts.ownership.missing)
    if facts.identity.pilot:
        return Finding(True, f"It is a pilot; its ownership decision lacks {missing}.")
    return Finding(False, f"Its ownership decision lacks {missing}, and it is no pilot.")


def _authority_known(facts: Facts) -> Finding:
    named = facts.case.responsible_authority or facts.ownership.authority
    if named or facts.case.mode == OperatingMode.MANAGED:
        return Finding(True, f"{named or 'We'} can revoke and renew it.")
    return Finding(False, "Nobody is named who can revoke and renew it: name them in its ownership decision.")


def _root_known(facts: Facts) -> Finding:
    roots = TrustAnchor.objects.filter(purpose=facts.case.purpose, self_signed=True, not_after__gt=facts.now)
    label = facts.case.get_purpose_display()
    if roots.exists():
        return Finding(True, f"A root of {label} is among the trust anchors.")
    return Finding(False, f"No root of {label} that is still valid is among the trust anchors: add the scheme's.")


def _pcid_known(facts: Facts) -> Finding:
    if facts.case.pcid:
        return Finding(True, f"The vehicle's PCID is {facts.case.pcid}.")
    return Finding(False, "The vehicle's PCID is not known: give it with the case, or record an answer that names it.")


def _key_at_endpoint(facts: Facts) -> Finding:
    if facts.ownership.key_owner == KeyOwner.EXTERNAL:
        return Finding(False, "By its ownership decision another party makes the keys; nothing can be enrolled here.")
    return Finding(True, "The endpoint makes its key itself.")


def _can_be_asked(facts: Facts) -> Finding:
    family = facts.charger.family
    who = facts.charger.authoritative_identifier
    if facts.charger.kind != SubjectKind.CHARGER:
        return Finding(False, f"{who} is an EVSE without a charger: name the charger that it belongs to.")
    if family is None:
        return Finding(False, f"No charger family is known for {who}, so it is not known what it can do.")
    needed = (Capability.SIGN_CERTIFICATE, Capability.CERTIFICATE_SIGNED)
    able = set(
        FamilyCapability.objects.filter(family=family, capability__in=needed, supported=True).values_list(
            "capability", flat=True
        )
    )
    lacking = [str(item.label) for item in needed if item not in able]
    if lacking:
        return Finding(False, f"Family {family} is not known to have {' and '.join(lacking)}.")
    return Finding(True, f"Family {family} signs requests and takes certificates.")


def _seen(facts: Facts) -> Finding:
    days = settings.CONFIGURATION.migration_recent_days
    who = facts.charger.authoritative_identifier
    recent = StationSession.objects.filter(station_id=who).filter(
        Q(closed_at__isnull=True) | Q(closed_at__gte=facts.now - timedelta(days=days))
    )
    if recent.exists():
        return Finding(True, f"{who} was connected in the last {days} days.")
    return Finding(False, f"{who} has not been connected for {days} days: see why.")


def _anchors_installed(facts: Facts) -> Finding:
    who = facts.charger.authoritative_identifier
    current = BundleInstallation.objects.filter(
        identity=facts.charger, purpose=facts.case.purpose, current=True
    ).first()
    if current is None:
        return Finding(False, f"{who} was given no trust anchors of {facts.case.get_purpose_display()}: release them.")
    if current.state not in CONFIRMED_STATES:
        return Finding(False, f"The trust anchors on {who} are {current.get_state_display().lower()}.")
    return Finding(True, f"{who} lists its trust anchors.")


ENABLED = Prerequisite("identity_enabled", "The identity is enabled", _enabled)
DECIDED = Prerequisite("ownership_decided", "Its ownership is decided, or it is a pilot", _decided)
AUTHORITY = Prerequisite("authority_known", "Somebody is named who can revoke and renew", _authority_known)
ROOT = Prerequisite("root_known", "A root of its trust domain is known", _root_known)
PCID = Prerequisite("pcid_known", "The vehicle's PCID is known", _pcid_known)
ENROLS = Prerequisite("enrolment_ready", "Enrolment with its CA is set up in the PKI worker")
OWN_KEY = Prerequisite("key_at_endpoint", "The endpoint makes its own key", _key_at_endpoint)
CAN_BE_ASKED = Prerequisite("station_can", "The station signs requests and takes certificates", _can_be_asked)
SEEN = Prerequisite("station_seen", "The station was connected lately", _seen)
ANCHORS = Prerequisite("anchors_confirmed", "The station has the trust anchors of the scheme", _anchors_installed)
ACCOUNT = Prerequisite("account_ready", "Our account with the service is ready for this")
CONTRACT = Prerequisite("contract_agreed", "The mobility operator has agreed to this contract")
PARTNER = Prerequisite("partner_agreed", "The partner has agreed to a custom module for certificates")
OEM = Prerequisite("manufacturer_agreed", "The manufacturer has agreed to provision this vehicle")
PROCEDURE = Prerequisite("procedure_agreed", "The procedure by hand is agreed with its authority")

_ALWAYS = (ENABLED, DECIDED, AUTHORITY)
OF_PURPOSE: dict[str, tuple[Prerequisite, ...]] = {
    ISO15118_EVSE_LEAF.key: (CAN_BE_ASKED, SEEN, ANCHORS),
    ISO15118_CONTRACT.key: (),
    ISO15118_OEM_PROVISIONING.key: (),
    VEHICLE_VAS_IDENTITY.key: (),
}
"""What a purpose asks for on each path that goes over the wire; by hand it is delivered by whoever is on site."""

_OURS = frozenset({ExternalSystem.LIFECYCLE.value, ExternalSystem.STATUS.value})
_PLUG_AND_CHARGE = frozenset({ISO15118_CONTRACT.key, ISO15118_OEM_PROVISIONING.key})

_PATHS = {
    path.key: path
    for path in (
        Path(
            PathKey.HUBJECT,
            _PLUG_AND_CHARGE | {ISO15118_EVSE_LEAF.key},
            _OURS | {ExternalSystem.HUBJECT.value},
            (*_ALWAYS, ACCOUNT, ROOT),
        ),
        Path(PathKey.OPNC, _PLUG_AND_CHARGE, _OURS | {ExternalSystem.OPNC.value}, (*_ALWAYS, ACCOUNT, ROOT)),
        Path(
            PathKey.OCPI,
            frozenset({ISO15118_CONTRACT.key}),
            _OURS | {ExternalSystem.OCPI.value},
            (*_ALWAYS, PARTNER),
            note=(
                "OCPI 2.3.0 has no messages for certificates: they are exchanged only by a custom module that the "
                "partner has agreed to. Otherwise such contracts are tracked only."
            ),
        ),
        Path(
            PathKey.OEM,
            _PLUG_AND_CHARGE | {VEHICLE_VAS_IDENTITY.key},
            _OURS | {ExternalSystem.OEM.value, ExternalSystem.VAS_BACKEND.value},
            (*_ALWAYS, OEM),
        ),
        Path(
            PathKey.EST,
            frozenset({ISO15118_EVSE_LEAF.key, VEHICLE_VAS_IDENTITY.key}),
            _OURS | {ExternalSystem.EST.value, ExternalSystem.VAS_BACKEND.value},
            (*_ALWAYS, ENROLS, OWN_KEY),
        ),
        Path(
            PathKey.MANUAL,
            _PLUG_AND_CHARGE | {ISO15118_EVSE_LEAF.key, VEHICLE_VAS_IDENTITY.key},
            _OURS | {ExternalSystem.POOL.value, ExternalSystem.VAS_BACKEND.value},
            (*_ALWAYS, PROCEDURE),
        ),
    )
}


def path(key: str) -> Path:
    """The path of this key.

    :raises InvalidInputError: for an unknown one.
    """
    try:
        return _PATHS[PathKey(key)]
    except ValueError:
        raise InvalidInputError(f"There is no path {key!r}; use one of {', '.join(PathKey.values)}.") from None


def paths_of(purpose_key: str) -> list[Path]:
    """The paths that a purpose can take."""
    return [item for item in _PATHS.values() if purpose_key in item.purposes]


def prerequisites_of(path_key: str, purpose_key: str) -> tuple[Prerequisite, ...]:
    """What a case of this path and purpose has to have before delivery, in the order in which it is mended."""
    chosen = path(path_key)
    if chosen.key is PathKey.MANUAL:
        return chosen.prerequisites
    contract = (PCID, CONTRACT) if purpose_key == ISO15118_CONTRACT.key else ()
    return (*chosen.prerequisites, *OF_PURPOSE[purpose_key], *contract)
