"""CertificateSigned; roots installed, listed and deleted (OCPP 2.0.1 A02, M03-M05)."""

from typing import TYPE_CHECKING

from cryptography import x509

from tests.simulator.chains import CertificateRefusedError, check_root
from tests.simulator.events import EventKind
from tests.simulator.evse import V2G_CERTIFICATE, V2G_CHAIN
from tests.simulator.frames import Payload
from tests.simulator.hash_data import ALGORITHMS, hash_data
from tests.simulator.link import Answer, Departure
from tests.simulator.store import CSMS_ROOT, StoredRoot

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

REASON_LENGTH, INFO_LENGTH = 20, 512


def certificate_signed(station: "SimulatedStation", payload: Payload) -> Answer:
    """A02.FR.06-08: judge the chain, keep it, and where it is for this connection reconnect at once."""
    if payload.get("certificateType") == V2G_CERTIFICATE:
        return _evse_certificate_signed(station, payload["certificateChain"])
    try:
        departure = station.enrolment.accept(payload["certificateChain"])
    except CertificateRefusedError as error:
        return Answer(_refusal("Rejected", error.reason, error.detail), after=station.security_log.flush)
    sent = not station.quirks.close_before_answering
    return Answer({"status": "Accepted"}, departure=departure or (None if sent else Departure.DROPPED), sent=sent)


def _evse_certificate_signed(station: "SimulatedStation", chain: str) -> Answer:
    try:
        station.evse.accept(chain)
    except CertificateRefusedError as error:
        return Answer(_refusal("Rejected", error.reason, error.detail))
    return Answer({"status": "Accepted"})


def install_certificate(station: "SimulatedStation", payload: Payload) -> Answer:
    """M05: keep a root for its use."""
    use = payload["certificateType"]
    try:
        if station.quirks.reject_root_install:
            raise CertificateRefusedError("StoreFailure", "this station keeps no further root")
        root = check_root(payload["certificate"], station.clock.now())
        if len(station.store.state.roots) >= station.variables.store_size and not station.store.holds(use, root):
            raise CertificateRefusedError("StoreFull", "this station keeps no further root")
    except CertificateRefusedError as error:
        status = "Failed" if error.reason == "StoreFailure" else "Rejected"
        station.record(EventKind.ROOT_REFUSED, use=use, detail=error.detail)
        return Answer(_refusal(status, error.reason, error.detail))
    stored = station.store.add_root(use, root)
    station.record(EventKind.ROOT_INSTALLED, use=use, fingerprint=stored.fingerprint)
    leaves = use == CSMS_ROOT and station.quirks.only_last_root_trusted
    return Answer({"status": "Accepted"}, departure=Departure.ROOT if leaves else None)


def get_installed_certificate_ids(station: "SimulatedStation", payload: Payload) -> Answer:
    """M03: what is installed, of the types asked for or of all."""
    wanted = payload.get("certificateType")
    chain = [
        {
            "certificateType": stored.use,
            "certificateHashData": _hash_data(station, station.store.root(stored)),
        }
        for stored in station.store.state.roots
        if wanted is None or stored.use in wanted
    ]
    if wanted is None or V2G_CHAIN in wanted:
        chain += station.evse.listed()
    if not chain:
        return Answer({"status": "NotFound"})
    return Answer({"status": "Accepted", "certificateHashDataChain": chain})


def delete_certificate(station: "SimulatedStation", payload: Payload) -> Answer:
    """M04: found by hash data in the station's spelling; own certificate (FR.06) and last root stay."""
    asked = payload["certificateHashData"]
    found = _find(station, asked)
    if found is None:
        if station.evse.delete(asked):
            return Answer({"status": "Accepted"})
        own = _names_own_leaf(station, asked)
        return Answer(_refusal("Failed", "OwnCertificate", "") if own else {"status": "NotFound"})
    csms_roots = [stored for stored in station.store.state.roots if stored.use == CSMS_ROOT]
    if csms_roots == [found]:
        return Answer(_refusal("Failed", "LastRoot", "without a CSMS root the station could not connect"))
    station.store.remove_root(found)
    station.record(EventKind.ROOT_DELETED, use=found.use, fingerprint=found.fingerprint)
    return Answer({"status": "Accepted"})


def _find(station: "SimulatedStation", asked: Payload) -> StoredRoot | None:
    for stored in station.store.state.roots:
        root = station.store.root(stored)
        if any(asked == _hash_data(station, root, algorithm) for algorithm in ALGORITHMS):
            return stored
    return None


def _names_own_leaf(station: "SimulatedStation", asked: Payload) -> bool:
    for leaf in station.store.state.leaves:
        certificate = x509.load_pem_x509_certificate(station.store.chain_file(leaf).read_bytes())
        if int(asked["serialNumber"], 16) == certificate.serial_number:
            return True
    return False


def _hash_data(station: "SimulatedStation", root: x509.Certificate, algorithm: str = "") -> Payload:
    quirks = station.quirks
    return hash_data(root, root, algorithm=algorithm or quirks.hash_algorithm, serial_style=quirks.serial_style)


def _refusal(status: str, reason: str, detail: str) -> Payload:
    info = {"reasonCode": reason[:REASON_LENGTH]}
    if detail:
        info["additionalInfo"] = detail[:INFO_LENGTH]
    return {"status": status, "statusInfo": info}
