"""What a car is answered: found by the certificate inside its own EXI request, given as it was published.

For the doors, and for whoever answers Get15118EVCertificate in a worker. Three statements at most, all by unique
indexes, so it costs the same however many contracts there are.
"""

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db.models import QuerySet

from bfcerts.pki.certificates import ParsedCertificate
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.services.security_events import record_security_event
from provisioning.models import PoolContract
from provisioning.pools import contents, exi_codec, normal_forms, telling
from provisioning.pools.callers import Caller
from provisioning.pools.choices import Namespace, PoolEvent, PoolRole, PoolScope
from provisioning.pools.errors import NothingToAnswerError, NotInPoolError, PoolError
from provisioning.pools.exi import certificates_in, looks_like_exi
from provisioning.pools.exi_codec import ExiCodecError, Turning

logger = logging.getLogger(__name__)

NOT_FOUND: Final = "Contract or Vehicle not found."
_NO_EXI: Final = (
    "The contract {emaid} was published as XML only, and no EXI codec turns it here. Publish its "
    "certificateInstallationRes in EXI, or set BFCERTS_POOL_EXI_CODEC."
)
_REFUSALS: Final = {Namespace.ISO_2.value: "ISO15118-2.exi", Namespace.ISO_20.value: "ISO15118-20.exi"}
_LARGEST_REFUSAL: Final = 4096
_MOST_SESSION_ID: Final = 8


class NoContractError(NotInPoolError):
    """There is nothing for this car.

    :ivar exi: the answer in EXI that says so, which the car still has to get; None where there is none to give.
    """

    code = "no_contract"

    def __init__(self, exi: bytes | None) -> None:
        super().__init__(NOT_FOUND)
        self.exi = exi


@dataclass(frozen=True, slots=True)
class PoolAnswer:
    """The answer for a car.

    :ivar exi: CertificateInstallationRes or CertificateUpdateRes.
    """

    exi: bytes = field(repr=False)
    emaid: str
    pcid: str
    namespace: str
    fingerprint: str
    serial_number: str
    not_after: datetime
    metadata: str
    signer_root_fingerprint: str

    @property
    def text(self) -> str:
        """As OPCP and OCPP carry it."""
        return base64_of(self.exi)


def base64_of(exi: bytes) -> str:
    return base64.b64encode(exi).decode()


def answer(exi_request: str, *, namespace: str, now: datetime, update: bool = False) -> PoolAnswer:
    """What a car's CertificateInstallationReq or CertificateUpdateReq is answered.

    :param exi_request: EXI in base64, as Get15118EVCertificate carries it.
    :param namespace: the car's iso15118SchemaVersion.
    :param update: it is a CertificateUpdateReq: found by the contract in it, not by the vehicle.
    :raises PoolError: when it is no EXI, or of no edition that is known.
    :raises NoContractError: when there is nothing for this car.
    :raises NothingToAnswerError: when only XML was published, and nothing turns it.
    """
    wanted = normal_forms.namespace(namespace)
    request = contents.request_of(exi_request)
    found = certificates_in(request)
    contract = _of_contract(found, wanted, now) if update else _of_vehicle(found, wanted, now)
    if contract is None:
        raise NoContractError(_refusal(wanted, update, request))
    return _answer(contract, update=update, request=request, session_id=None)


def for_caller(*, caller: Caller, exi_request: object, namespace: object, now: datetime) -> PoolAnswer:
    """`answer`, for a charge point operator over OPCP."""
    caller.require(PoolScope.CONTRACTS, [PoolRole.CPO], "ask for signed contract data", now)
    if not isinstance(exi_request, str) or not exi_request:
        raise PoolError("certificateInstallationReq : must not be empty")
    if not isinstance(namespace, str) or not namespace:
        raise PoolError("xsdMsgDefNamespace : must not be empty")
    return answer(exi_request, namespace=namespace, now=now)


def provide(
    *, caller: Caller, emaid: str, pcid: str, namespace: str, session_id: str, root: str, now: datetime
) -> PoolAnswer:
    """A contract of a vehicle, for its manufacturer; whose contract it is hears of it.

    :param session_id: up to eight hexadecimal digits, for what a codec makes; a ready-made answer stays as it is.
    :param root: fingerprint of the root that the signing service has to be under; empty for any.
    """
    caller.require(PoolScope.CONTRACTS, [PoolRole.OEM], "fetch signed contract data", now)
    wanted, vehicle = normal_forms.emaid(emaid), normal_forms.pcid(pcid)
    if not caller.owns_pcid(vehicle):
        caller.refuse(f"fetch signed contract data of {vehicle}", "the WMI is not its own", now)
    session = _session(session_id)
    found = _usable(normal_forms.namespace(namespace), now).filter(
        emaid_key=normal_forms.emaid_key(wanted), provisioning_certificate__pcid=vehicle
    )
    if root:
        found = found.filter(signer_root__fingerprint=normal_forms.fingerprint(root))
    contract = found.first()
    if contract is None:
        raise NotInPoolError("The contract for the given EMAID not found.")
    given = _answer(contract, update=False, request=None, session_id=session)
    payload = telling.contract_payload(contract, vehicle)
    telling.of_operator(PoolEvent.DELIVERED, contract.node_id, contract.namespace, payload, now)
    return given


def _usable(namespace: str, now: datetime) -> QuerySet[PoolContract]:
    return (
        PoolContract.objects.defer(None)
        .select_related("provisioning_certificate", "signer_root")
        .filter(
            namespace=namespace,
            revoked_at=None,
            orphaned_at=None,
            provisioning_certificate__revoked_at=None,
            not_before__lte=now,
            not_after__gt=now,
        )
    )


def _of_vehicle(found: Sequence[ParsedCertificate], namespace: str, now: datetime) -> PoolContract | None:
    """The default contract of the vehicle whose provisioning certificate stands in the request."""
    for certificate in found:
        pcid = "" if certificate.is_ca else contents.pcid_of(certificate)
        if not pcid:
            continue
        contract = _usable(namespace, now).filter(provisioning_certificate__pcid=pcid, is_default=True).first()
        if contract is None:
            return None
        if contract.vehicle_key_sha256 != certificate.public_key_sha256:
            _tell_other_key(pcid, certificate, now)
            return None
        return contract
    return None


def _of_contract(found: Sequence[ParsedCertificate], namespace: str, now: datetime) -> PoolContract | None:
    """The contract whose former certificate stands in the request."""
    for certificate in found:
        key = "" if certificate.is_ca else contents.emaid_of(certificate)
        if key:
            return _usable(namespace, now).filter(emaid_key=key).first()
    return None


def _answer(contract: PoolContract, *, update: bool, request: bytes | None, session_id: bytes | None) -> PoolAnswer:
    ready = contract.update_response if update else contract.installation_response
    exi = bytes(ready) if ready is not None else _turned(contract, update, request, session_id)
    return PoolAnswer(
        exi=exi,
        emaid=contract.emaid,
        pcid=contract.provisioning_certificate.pcid,
        namespace=contract.namespace,
        fingerprint=contract.fingerprint,
        serial_number=contract.serial_number,
        not_after=contract.not_after,
        metadata=contract.metadata,
        signer_root_fingerprint=contract.signer_root.fingerprint if contract.signer_root else "",
    )


def _turned(contract: PoolContract, update: bool, request: bytes | None, session_id: bytes | None) -> bytes:
    codec = exi_codec.configured()
    if codec is None or contract.signed_data is None:
        raise NothingToAnswerError(_NO_EXI.format(emaid=contract.emaid))
    data = bytes(contract.signed_data)
    try:
        return codec.turn(Turning(contract.namespace, update, data, request, session_id))
    except ExiCodecError as error:
        raise NothingToAnswerError(f"{error} The contract {contract.emaid} cannot be answered now.") from None


def _refusal(namespace: str, update: bool, request: bytes) -> bytes | None:
    """An answer in EXI that there is no contract: of the codec, or ready-made from the operator's folder."""
    codec = exi_codec.configured()
    if codec is not None:
        try:
            return codec.turn(Turning(namespace, update, None, request, None))
        except ExiCodecError as error:
            logger.warning("no refusal in EXI: %s", error)
    folder = settings.CONFIGURATION.pool_refusals_directory
    if folder is None:
        return None
    try:
        with (folder / _REFUSALS[namespace]).open("rb") as file:
            exi = file.read(_LARGEST_REFUSAL + 1)
    except OSError as error:
        logger.warning("no refusal in EXI: %s cannot be read: %s", _REFUSALS[namespace], error.strerror)
        return None
    if not looks_like_exi(exi) or len(exi) > _LARGEST_REFUSAL:
        logger.warning("no refusal in EXI: %s holds something else", _REFUSALS[namespace])
        return None
    return exi


def _session(text: str) -> bytes | None:
    if not text:
        return None
    try:
        if len(text) > _MOST_SESSION_ID:
            raise ValueError
        return bytes.fromhex(text.zfill(len(text) + len(text) % 2))
    except ValueError:
        raise PoolError(
            "Invalid SessionID format, make sure the length is maximum 8 characters and it is represented in HEX binary"
        ) from None


def _tell_other_key(pcid: str, certificate: ParsedCertificate, now: datetime) -> None:
    record_security_event(
        "PoolVehicleKeyUnknown",
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.WARNING,
        source=SecuritySource.BROKER,
        message=f"A car that calls itself {pcid} showed a certificate of another key than its contract is encrypted "
        f"for (fingerprint {certificate.fingerprint_sha256[:16]}…); it was given nothing. If the vehicle has a new "
        "certificate, its manufacturer publishes it and its contracts are published again.",
        now=now,
        dedupe_key=f"pool-vehicle-key:{pcid}:{certificate.fingerprint_sha256[:32]}:{now:%Y%m%d}",
    )
