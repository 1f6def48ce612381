"""The registry of certificate purposes: a new purpose is one entry here and a policy row, never a new service.

Each purpose has one trust domain of its own; no anchor, policy, CA or job of one is ever used for another (D-005,
D-008, NFR-004). The key of the purpose names the trust domain too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from inventory.choices import EvidenceKind, OperatingMode, SubjectKind
from inventory.errors import InventoryError


class PurposeError(InventoryError):
    """A purpose is unknown, reserved, or not for this kind of subject."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a certificate is for; it decides policy, trust domain, subjects, slots and activation rule."""

    key: str
    label: str
    subject_kinds: frozenset[str]
    default_mode: str
    certificate_profile: str
    """The entry of bfcerts.pki.profiles that our issuance uses."""
    installing_evidence: frozenset[str]
    """Evidence that moves a record from issued to installed_pending_activation."""
    activating_evidence: frozenset[str]
    """Evidence that moves a record from installed_pending_activation to active (FR-002a)."""
    slot_meaning: str = ""
    """What tells several certificates of one identity apart; empty where there is only one."""
    delivered_over_ocpp: bool = False
    ocpp_certificate_type: str | None = None
    provisional: bool = False
    """Rests on a standard that was not available to us (VDV 261)."""
    ownership_to_decide: bool = False
    """Others have a part in it, so that it is used in production only where its ownership decision is complete."""

    @property
    def issued_by_our_authorities(self) -> bool:
        """Whether our own CAs issue for it by default; AWS IoT Core issues hub certificates itself."""
        return self.default_mode == OperatingMode.MANAGED and self.certificate_profile != "platform"

    @property
    def may_be_issued_by_a_scheme(self) -> bool:
        """Whether a CA over EST may issue for it: the subject is the request's own, and no door of ours trusts it."""
        return self.key in ("iso15118_evse_leaf", "vehicle_vas_identity")

    @property
    def trust_domain(self) -> str:
        return self.key

    def check_slot(self, slot: str) -> None:
        """Refuse a slot where the purpose has none, and a missing one where it has.

        :raises PurposeError: with the sentence for the user.
        """
        if self.slot_meaning and not slot:
            raise PurposeError(f"{self.label} needs a slot: {self.slot_meaning}.")
        if slot and not self.slot_meaning:
            raise PurposeError(f"{self.label} has no slots; leave the slot empty instead of {slot!r}.")


_CHARGER_LIKE = frozenset({SubjectKind.CHARGER.value, SubjectKind.EVSE.value})
_VEHICLE = frozenset({SubjectKind.VEHICLE.value})

CHARGER_IDENTITY = Purpose(
    key="charger_identity",
    label="Charger identity",
    subject_kinds=frozenset({SubjectKind.CHARGER.value}),
    default_mode=OperatingMode.MANAGED,
    certificate_profile="charger_client",
    installing_evidence=frozenset({EvidenceKind.INSTALL_ACKNOWLEDGED.value, EvidenceKind.MTLS_CONNECTION.value}),
    activating_evidence=frozenset({EvidenceKind.MTLS_CONNECTION.value}),
    delivered_over_ocpp=True,
    ocpp_certificate_type="ChargingStationCertificate",
)
VEHICLE_VAS_IDENTITY = Purpose(
    key="vehicle_vas_identity",
    ownership_to_decide=True,
    label="Vehicle VAS identity",
    subject_kinds=_VEHICLE,
    default_mode=OperatingMode.MANAGED,
    certificate_profile="vehicle_client",
    installing_evidence=frozenset({EvidenceKind.DELIVERY_ACKNOWLEDGED.value, EvidenceKind.VAS_TRANSACTION.value}),
    activating_evidence=frozenset({EvidenceKind.VAS_TRANSACTION.value, EvidenceKind.EXTERNAL_CONFIRMATION.value}),
    provisional=True,
)
ISO15118_EVSE_LEAF = Purpose(
    key="iso15118_evse_leaf",
    ownership_to_decide=True,
    label="ISO 15118 EVSE leaf",
    subject_kinds=_CHARGER_LIKE,
    default_mode=OperatingMode.BROKERED,
    certificate_profile="evse_leaf",
    installing_evidence=frozenset({EvidenceKind.EVSE_ACCEPTANCE.value}),
    activating_evidence=frozenset({EvidenceKind.EXTERNAL_CONFIRMATION.value}),
    delivered_over_ocpp=True,
    ocpp_certificate_type="V2GCertificate",
)
ISO15118_CONTRACT = Purpose(
    key="iso15118_contract",
    ownership_to_decide=True,
    label="ISO 15118 contract",
    subject_kinds=_VEHICLE,
    default_mode=OperatingMode.BROKERED,
    certificate_profile="contract",
    installing_evidence=frozenset({EvidenceKind.DELIVERY_ACKNOWLEDGED.value}),
    activating_evidence=frozenset({EvidenceKind.EXTERNAL_CONFIRMATION.value}),
    slot_meaning="the EMAID of the contract",
)
ISO15118_OEM_PROVISIONING = Purpose(
    key="iso15118_oem_provisioning",
    ownership_to_decide=True,
    label="ISO 15118 OEM provisioning",
    subject_kinds=_VEHICLE,
    default_mode=OperatingMode.TRACKED_ONLY,
    certificate_profile="oem_provisioning",
    installing_evidence=frozenset({EvidenceKind.EXTERNAL_CONFIRMATION.value}),
    activating_evidence=frozenset({EvidenceKind.EXTERNAL_CONFIRMATION.value}),
)
BACKEND_SERVER = Purpose(
    key="backend_server",
    label="Backend server",
    subject_kinds=frozenset({SubjectKind.SERVICE_ENDPOINT.value}),
    default_mode=OperatingMode.MANAGED,
    certificate_profile="server",
    installing_evidence=frozenset({EvidenceKind.LISTENER_PRESENTS.value, EvidenceKind.PLATFORM_STATUS.value}),
    activating_evidence=frozenset({EvidenceKind.LISTENER_PRESENTS.value, EvidenceKind.PLATFORM_STATUS.value}),
    slot_meaning="the key type, ecdsa or rsa",
)
IOT_HUB_DEVICE = Purpose(
    key="iot_hub_device",
    label="IoT hub device",
    subject_kinds=frozenset({SubjectKind.IOT_HUB_DEVICE.value}),
    default_mode=OperatingMode.MANAGED,
    certificate_profile="platform",
    installing_evidence=frozenset({EvidenceKind.PLATFORM_STATUS.value}),
    activating_evidence=frozenset({EvidenceKind.PLATFORM_STATUS.value}),
    slot_meaning="the native id of the hub certificate",
)

_PURPOSES = {
    purpose.key: purpose
    for purpose in (
        CHARGER_IDENTITY,
        VEHICLE_VAS_IDENTITY,
        ISO15118_EVSE_LEAF,
        ISO15118_CONTRACT,
        ISO15118_OEM_PROVISIONING,
        BACKEND_SERVER,
        IOT_HUB_DEVICE,
    )
}
RESERVED_TRUST_DOMAINS = {"firmware_signing": "Firmware signing"}

PURPOSE_CHOICES = [(purpose.key, purpose.label) for purpose in _PURPOSES.values()]
POLICY_SUBJECT_CHOICES = [
    *PURPOSE_CHOICES,
    ("root_ca", "Root CA"),
    ("intermediate_ca", "Intermediate CA"),
    ("authorization_key", "AuthorizationKey"),
]


def purposes() -> Iterator[Purpose]:
    """Every purpose in scope."""
    return iter(_PURPOSES.values())


def purpose(key: str) -> Purpose:
    """The purpose of this key.

    :raises PurposeError: for a reserved trust domain or an unknown key.
    """
    if key in RESERVED_TRUST_DOMAINS:
        raise PurposeError(
            f"{RESERVED_TRUST_DOMAINS[key]} is a reserved trust domain and out of scope: its certificates belong to "
            "a separate signing PKI and are not issued, stored or trusted here."
        )
    try:
        return _PURPOSES[key]
    except KeyError:
        known = ", ".join(sorted(_PURPOSES))
        raise PurposeError(f"There is no certificate purpose {key!r}; the known ones are {known}.") from None
