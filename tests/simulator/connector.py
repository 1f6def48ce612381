"""From a wish to an open connection: which profile, which certificate, what success or failure changes."""

import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection

from tests.simulator.dialling import (
    Credentials,
    NotReadyError,
    RefusalKind,
    RefusedError,
    UnreachableError,
    dial,
)
from tests.simulator.events import EventKind
from tests.simulator.network import ConnectionOrder, NetworkProfile
from tests.simulator.store import StationState, StoredLeaf
from tests.simulator.tls import ResumingContext, client_context
from tests.simulator.variables import lowers

if TYPE_CHECKING:
    from tests.simulator.quirks import Quirks
    from tests.simulator.station import SimulatedStation


@dataclass(frozen=True, slots=True)
class Admission:
    """An open connection and how it came to be."""

    connection: ClientConnection
    slot: int
    profile: NetworkProfile
    leaf: StoredLeaf | None


class Connector:
    """Makes one attempt after the other for one station."""

    def __init__(self, station: "SimulatedStation") -> None:
        self._station = station
        self._order = self._fresh_order()
        self._refusals_of_candidate = 0
        self._refusals_of_password = 0
        self._resumption: tuple[StoredLeaf | None, ResumingContext] | None = None

    def restart(self) -> None:
        """After a boot the network priority counts anew."""
        self._order = self._fresh_order()

    async def attempt(self) -> Admission:
        """Try once, with the profile and the certificate that are due.

        :raises ConnectError: and the event, the security log and the next attempt follow from it.
        """
        station = self._station
        state, slot = station.store.state, self._order.slot
        profile = state.network_profiles[slot]
        leaf = leaf_to_present(station.store.state, station.quirks) if profile.security_profile == 3 else None
        shown = {"slot": slot, "fingerprint": leaf.fingerprint if leaf else ""}
        try:
            connection = await self._dial(profile, leaf)
        except RefusedError as error:
            station.record(EventKind.REFUSED, status=error.status, reason=error.kind, detail=error.detail, **shown)
            self._refused(error, leaf)
            raise
        except UnreachableError as error:
            station.record(EventKind.UNREACHABLE, detail=str(error), slot=slot)
            self._order.failed()
            raise
        except NotReadyError as error:
            station.record(EventKind.NOT_READY, detail=str(error), slot=slot)
            self._order.failed()
            raise
        return Admission(connection, slot, profile, leaf)

    def settle(self, admission: Admission) -> None:
        """What follows from a success: the candidate is proven, lower profiles are gone."""
        station, store = self._station, self._station.store
        state, profile = store.state, admission.profile
        tls = admission.connection.transport.get_extra_info("ssl_object")
        station.record(
            EventKind.CONNECTED,
            slot=admission.slot,
            security_profile=profile.security_profile,
            url=profile.url,
            fingerprint=admission.leaf.fingerprint if admission.leaf else "",
            tls_version=tls.version() if tls else "",
            session_resumed=bool(tls and tls.session_reused),
        )
        self._order.succeeded()
        if admission.leaf and admission.leaf.name == state.candidate:
            self._refusals_of_candidate = 0
            store.prove_candidate()
            station.record(EventKind.CERTIFICATE_PROVEN, fingerprint=admission.leaf.fingerprint)
        if state.previous_password and profile.security_profile < 3:
            self._refusals_of_password = 0
            state.previous_password = ""
            store.save()
        if state.security_profile != profile.security_profile:
            state.security_profile = profile.security_profile
            store.save()
        if not lowers(station):
            self._drop_below(profile.security_profile)

    def remember_session(self, connection: ClientConnection) -> None:
        """Keep the TLS session of a connection that ends, for `Quirks.resume_tls_session`."""
        tls = connection.transport.get_extra_info("ssl_object")
        if self._resumption and isinstance(tls, ssl.SSLObject):
            self._resumption[1].session = tls.session

    async def _dial(self, profile: NetworkProfile, leaf: StoredLeaf | None) -> ClientConnection:
        station = self._station
        quirks, state = station.quirks, station.store.state
        if profile.security_profile == 3 and leaf is None:
            raise NotReadyError("security profile 3 needs a client certificate, and none is installed")
        credentials = None
        if profile.security_profile < 3:
            credentials = Credentials(quirks.basic_user_name or state.station_id, state.password)
        return await dial(
            profile.url,
            quirks.url_identity or state.station_id,
            subprotocols=quirks.subprotocols or (station.dialect.subprotocol,),
            context=self._context(leaf) if profile.security_profile > 1 else None,
            credentials=credentials,
            timings=station.timings,
        )

    def _context(self, leaf: StoredLeaf | None) -> ssl.SSLContext:
        station = self._station
        quirks, store = station.quirks, station.store
        if quirks.resume_tls_session and self._resumption and self._resumption[0] == leaf:
            return self._resumption[1]
        context = client_context(
            station.enrolment.trusted_roots(),
            chain_file=store.chain_file(leaf) if leaf else None,
            key_file=store.key_file(leaf.key) if leaf else None,
            version=quirks.tls_version,
            ciphers=quirks.tls_ciphers,
            resuming=quirks.resume_tls_session,
        )
        self._resumption = (leaf, context) if isinstance(context, ResumingContext) else None
        return context

    def _refused(self, error: RefusedError, leaf: StoredLeaf | None) -> None:
        station = self._station
        store = station.store
        if error.kind is RefusalKind.SERVER_CERTIFICATE:
            station.security_log.note("InvalidCsmsCertificate", error.detail)
        elif leaf and leaf.name == store.state.candidate and store.state.current:
            self._refusals_of_candidate += 1
            if self._refusals_of_candidate >= station.timings.attempts_with_new_certificate:
                # A02.FR.28, FR.29: back to the certificate before, and say so.
                self._refusals_of_candidate = 0
                store.discard_candidate()
                station.record(EventKind.CERTIFICATE_DISCARDED, fingerprint=leaf.fingerprint)
                station.security_log.note("DiscardedRenewedClientCertificate", leaf.fingerprint)
        elif leaf is None and error.status == HTTPStatus.UNAUTHORIZED and store.state.previous_password:
            self._refusals_of_password += 1
            if self._refusals_of_password >= station.timings.attempts_with_new_certificate:
                self._refusals_of_password = 0
                store.go_back_to_previous_password()
                station.record(EventKind.PASSWORD_DISCARDED)
        self._order.failed()

    def _drop_below(self, security_profile: int) -> None:
        """A05: after a success on a higher profile the lower ones are gone for good."""
        state = self._station.store.state
        lower = {
            slot: profile.security_profile
            for slot, profile in state.network_profiles.items()
            if profile.security_profile < security_profile
        }
        if not lower:
            return
        for slot in lower:
            del state.network_profiles[slot]
        kept = [slot for slot in state.network_priority if slot not in lower]
        state.network_priority = kept or sorted(state.network_profiles)
        self._order.drop(list(lower))
        self._station.store.save()
        for slot, dropped in lower.items():
            self._station.record(EventKind.NETWORK_PROFILE_DROPPED, slot=slot, security_profile=dropped)

    def _fresh_order(self) -> ConnectionOrder:
        attempts = int(self._station.variables.get("OCPPCommCtrlr", "NetworkProfileConnectionAttempts"))
        return ConnectionOrder(self._station.store.state.network_priority, attempts)


def leaf_to_present(state: StationState, quirks: "Quirks") -> StoredLeaf | None:
    """The certificate for the next handshake: the new one, unless a quirk says otherwise."""
    if quirks.loses_new_key:
        return None
    leaves = {leaf.name: leaf for leaf in state.leaves}
    if quirks.present_latest_not_after and leaves:
        return max(leaves.values(), key=lambda leaf: leaf.not_after)
    names = [state.candidate, state.current]
    if quirks.reconnect_with_old_certificate:
        names = [state.current, state.candidate] if state.candidate else [state.previous, state.current]
    return next((leaves[name] for name in names if name), None)
