"""What a station does for Plug and Charge: questions of vehicles, and the EVSE's own certificate towards them.

The messages are those of OCPP 2.0.1; a dialect that has none of its own carries them in another message.
"""

import asyncio
import json
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.simulator.chains import AcceptedChain, CertificateRefusedError, check_chain
from tests.simulator.csr import make_csr, make_key
from tests.simulator.events import EventKind
from tests.simulator.frames import Payload
from tests.simulator.hash_data import hash_data
from tests.simulator.identity import KeyType
from tests.simulator.link import CallRefusedError
from tests.simulator.store import V2G_ROOT

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

V2G_CERTIFICATE = "V2GCertificate"
V2G_CHAIN = "V2GCertificateChain"
SCHEMA_VERSION = "urn:iso:15118:2:2013:MsgDef"


class Evse:
    """One station's side of ISO 15118."""

    def __init__(self, station: "SimulatedStation") -> None:
        self._station = station

    # -- what vehicles ask -------------------------------------------------------------------------------------------

    async def ev_certificate(self, exi: str, action: str = "Install") -> Payload:
        """Pass a vehicle's CertificateInstallationReq on, whatever it is.

        :param exi: as base64.
        :returns: status and exiResponse.
        """
        payload = {"iso15118SchemaVersion": SCHEMA_VERSION, "action": action, "exiRequest": exi}
        return await self._station.dialect.plug_and_charge(self._station, "Get15118EVCertificate", payload)

    async def certificate_status(self, data: Payload) -> Payload:
        """Ask for the OCSP answer to a certificate.

        :param data: OCSPRequestDataType, in any spelling.
        """
        return await self._station.dialect.plug_and_charge(
            self._station, "GetCertificateStatus", {"ocspRequestData": data}
        )

    async def flood(self, count: int, exi: str) -> None:
        """So many questions at once, without waiting for any; the answers become STRAY_ANSWER events."""
        for number in range(count):
            payload = {"iso15118SchemaVersion": SCHEMA_VERSION, "action": "Install", "exiRequest": exi}
            await self.send_again(f"flood-{number}", payload)

    async def send_again(self, message_id: str, payload: Payload) -> None:
        """Ask under an id of choice, as a station that repeats a message after it hung up."""
        action, carried = self._station.dialect.carried("Get15118EVCertificate", payload, self._station)
        await self._station.send_raw(json.dumps([2, message_id, action, carried]))

    # -- the EVSE's own certificate ----------------------------------------------------------------------------------

    def refuses_trigger(self) -> bool:
        """Whether it makes no request now: some want to be told an organization before."""
        wanted = self._station.quirks.evse_needs_organization
        return wanted and not self._station.variables.get("ISO15118Ctrlr", "OrganizationName")

    async def request(self) -> str:
        """Make a key, and send SignCertificate for it.

        :returns: the CSMS's status, or the code of its CALLERROR.
        """
        station = self._station
        key = await asyncio.to_thread(make_key, KeyType.P256)
        name = station.store.new_evse_key(key)
        csr = make_csr(key, self._subject())
        try:
            status = await station.dialect.sign_certificate(station, csr, V2G_CERTIFICATE)
        except CallRefusedError as error:
            status = error.code
        station.record(EventKind.CSR_SENT, status=status, certificate_type=V2G_CERTIFICATE, key=name, csr=csr)
        return status

    async def request_unless_silent(self) -> None:
        """What follows an accepted trigger."""
        if not self._station.quirks.trigger_accepted_no_csr:
            await self.request()

    def accept(self, chain_pem: str) -> None:
        """Judge and keep the chain of a CertificateSigned of this type.

        :raises CertificateRefusedError: it is not kept.
        """
        station = self._station
        try:
            chain = self._judged(chain_pem)
        except CertificateRefusedError as error:
            station.record(EventKind.CERTIFICATE_REJECTED, reason=error.reason, detail=error.detail)
            raise
        stored = station.store.keep_evse_chain(chain)
        station.record(EventKind.EVSE_CERTIFICATE_INSTALLED, fingerprint=stored.fingerprint, not_after=stored.not_after)

    def listed(self) -> list[Payload]:
        """The chain as GetInstalledCertificateIds lists it: the leaf, and below it what stands above."""
        chain = self.chain()
        if not chain:
            return []
        quirks = self._station.quirks
        issuers = [*chain[1:], self._root_of(chain[-1])]
        hashes = [
            hash_data(one, issuer, algorithm=quirks.hash_algorithm, serial_style=quirks.serial_style)
            for one, issuer in zip(chain, issuers, strict=True)
        ]
        entry: Payload = {"certificateType": V2G_CHAIN, "certificateHashData": hashes[0]}
        if hashes[1:]:
            entry["childCertificateHashData"] = hashes[1:]
        return [entry]

    def delete(self, asked: Payload) -> bool:
        """Forget the chain where its leaf is meant; false where it is not."""
        if not any(entry["certificateHashData"] == asked for entry in self.listed()):
            return False
        self._station.store.forget_evse_chain()
        return True

    def chain(self) -> list[x509.Certificate]:
        """What it presents to vehicles: the leaf first, no root; empty without a certificate."""
        store = self._station.store
        stored = store.state.evse_chain
        return x509.load_pem_x509_certificates(store.chain_file(stored).read_bytes()) if stored else []

    def tls_context(self) -> ssl.SSLContext:
        """For a vehicle that connects to it (ISO 15118-2, TLS 1.2)."""
        store = self._station.store
        stored = store.state.evse_chain
        if stored is None:
            raise CertificateRefusedError("NoCertificate", "the EVSE has no certificate")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(store.chain_file(stored), store.key_file(stored.key))
        return context

    def _judged(self, chain_pem: str) -> AcceptedChain:
        station = self._station
        store, quirks = station.store, station.quirks
        if quirks.reject_evse_install:
            raise CertificateRefusedError("InvalidCertificate", "this station refuses every certificate of an EVSE")
        roots = store.roots(V2G_ROOT)
        chain = check_chain(chain_pem, store.usable_evse_keys(), roots, station.clock.now(), quirks)
        presented = x509.load_pem_x509_certificates(chain_pem.encode())
        if presented != list(chain.certificates):
            raise CertificateRefusedError(
                "InvalidCertificate", "the chain has to be the leaf, SUB2 and SUB1 in this order and without a root"
            )
        return chain

    def _root_of(self, certificate: x509.Certificate) -> x509.Certificate:
        roots = self._station.store.roots(V2G_ROOT)
        return next((root for root in roots if root.subject == certificate.issuer), certificate)

    def _subject(self) -> x509.Name:
        variables = self._station.variables
        parts = [
            (NameOID.COUNTRY_NAME, variables.get("ISO15118Ctrlr", "CountryName")),
            (NameOID.ORGANIZATION_NAME, variables.get("ISO15118Ctrlr", "OrganizationName")),
            (NameOID.DOMAIN_COMPONENT, "CPO"),
            (NameOID.COMMON_NAME, variables.get("ISO15118Ctrlr", "SeccId") or self._station.station_id),
        ]
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])
