"""How a station comes to its certificates: CSRs out, chains in, its own renewals (OCPP 2.0.1 A02, A03)."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from tests.simulator.chains import CertificateRefusedError, check_chain
from tests.simulator.csr import make_csr, make_key, subject
from tests.simulator.events import EventKind
from tests.simulator.link import CallRefusedError, CallTimedOutError, Departure, LinkClosedError
from tests.simulator.network import NetworkProfile

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

STATION_CERTIFICATE = "ChargingStationCertificate"


class Enrolment:
    """One station's dealings about its own certificate."""

    def __init__(self, station: "SimulatedStation") -> None:
        self._station = station
        self.pending = False
        """A CSR was accepted by the CSMS, or is on its way, and no certificate has come yet."""

    async def request(self, certificate_type: str | None = STATION_CERTIFICATE) -> str:
        """Send SignCertificate with a new key (or the present one, `Quirks.reuse_key`).

        :returns: the CSMS's status, or the code of its CALLERROR.
        """
        station = self._station
        quirks, store = station.quirks, station.store
        current = store.leaf(store.state.current)
        if quirks.reuse_key and current:
            key_name, key = current.key, store.key(current.key)
        else:
            key = await asyncio.to_thread(make_key, store.state.key_type, wrong=quirks.wrong_csr)
            key_name = store.new_key(key)
        name = subject(store.state.identity, station.variables.get("SecurityCtrlr", "OrganizationName"), quirks)
        csr = make_csr(key, name, wrong=quirks.wrong_csr)
        self.pending = True
        try:
            status = await station.dialect.sign_certificate(station, csr, certificate_type)
        except CallRefusedError as error:
            status = error.code
        if status != "Accepted":
            self.pending = False
        station.record(EventKind.CSR_SENT, status=status, certificate_type=certificate_type, key=key_name, csr=csr)
        return status

    async def request_until_signed(self, certificate_type: str | None = STATION_CERTIFICATE) -> None:
        """`request`, and with `Quirks.repeats_sign_certificate` again and again until a certificate comes.

        A02.FR.17-19: after CertSigningWaitMinimum, then twice that, at most CertSigningRepeatTimes times.
        """
        await self.request(certificate_type)
        if not self._station.quirks.repeats_sign_certificate:
            return
        wait = float(self._station.variables.get("SecurityCtrlr", "CertSigningWaitMinimum"))
        for _ in range(int(self._station.variables.get("SecurityCtrlr", "CertSigningRepeatTimes"))):
            await self._station.clock.sleep(wait)
            if not self.pending:
                return
            await self.request(certificate_type)
            wait *= 2

    def accept(self, chain_pem: str) -> Departure | None:
        """Judge and keep the chain of a CertificateSigned.

        :returns: that the station reconnects now, where it uses such a certificate (A02.FR.08).
        :raises CertificateRefusedError: it is not kept; noted in the security log too.
        """
        station = self._station
        store, quirks = station.store, station.quirks
        try:
            if quirks.reject_install:
                raise CertificateRefusedError("InvalidCertificate", "this station refuses every certificate")
            chain = check_chain(chain_pem, store.usable_keys(), self.trusted_roots(), station.clock.now(), quirks)
        except CertificateRefusedError as error:
            self.pending = False
            station.record(EventKind.CERTIFICATE_REJECTED, reason=error.reason, detail=error.detail)
            station.security_log.note("InvalidChargingStationCertificate", error.detail)
            raise
        leaf = store.add_leaf(chain)
        self.pending = False
        station.record(EventKind.CERTIFICATE_INSTALLED, fingerprint=leaf.fingerprint, not_after=leaf.not_after)
        if station.security_profile == 3:
            return Departure.CERTIFICATE
        if quirks.upgrades_in_place and station.slot is not None:
            raised = NetworkProfile(3, store.state.network_profiles[station.slot].url)
            store.state.network_profiles[station.slot] = raised
            store.save()
            station.record(EventKind.NETWORK_PROFILE_SET, slot=station.slot, security_profile=3, url=raised.url)
            return Departure.CERTIFICATE
        return None

    def trusted_roots(self) -> Sequence[x509.Certificate]:
        """The CSMS roots that count for this station."""
        roots = self._station.store.roots()
        return roots[-1:] if self._station.quirks.only_last_root_trusted else roots

    async def watch_expiry(self) -> None:
        """With `Quirks.renews_on_its_own`: look soon after the boot, then in long intervals."""
        station = self._station
        wait = station.timings.own_renewal_first_check
        while True:
            await station.clock.sleep(wait)
            wait = station.timings.own_renewal_interval
            leaf = station.store.leaf(station.store.state.current)
            left = timedelta(days=station.timings.own_renewal_days)
            if not station.quirks.renews_on_its_own or not station.connected or leaf is None or self.pending:
                continue
            if leaf.not_after - station.clock.now() < left:
                try:
                    await self.request_until_signed()
                except (LinkClosedError, CallTimedOutError):
                    continue
