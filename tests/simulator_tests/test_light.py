"""The light connection for load: mutual TLS, CALLs both ways, refusals, and the moment it was closed."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.simulator import RefusalKind, RefusedError
from tests.simulator.csr import key_pem
from tests.simulator.dialling import Credentials
from tests.simulator.frames import Call
from tests.simulator.light import LightStation, accept_everything
from tests.simulator.tls import client_context
from tests.simulator_tests.authority import common_name
from tests.simulator_tests.csms import TIME, SmallCsms


def context_with_certificate(csms: SmallCsms) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = csms.chargers.sign(key.public_key(), common_name("CS-1"))
    chain_file, key_file = csms.folder / "light.pem", csms.folder / "light.key"
    chain_file.write_text(csms.chargers.chain(leaf))
    key_file.write_bytes(key_pem(key))
    return client_context([csms.server.root], chain_file=chain_file, key_file=key_file)


def test_calls_both_ways_over_mutual_tls(tmp_path: Path) -> None:
    async def run() -> None:
        asked: list[Call] = []

        def answer(call: Call) -> dict[str, str] | None:
            asked.append(call)
            return accept_everything(call) if call.action == "CertificateSigned" else None

        async with SmallCsms(tmp_path) as csms:
            station = await LightStation.open(
                csms.urls["profile3"], "CS-1", context=context_with_certificate(csms), answer=answer
            )
            assert await station.call("Heartbeat", {}) == {"currentTime": TIME}
            assert await csms.deliver("CS-1", "x" * 9000) == {"status": "Accepted"}
            refusal = await csms.call("CS-1", "Reset", {"type": "Immediate"})
            assert refusal[2] == "NotImplemented"
            assert [call.action for call in asked] == ["CertificateSigned", "Reset"]
            await station.close()
            with pytest.raises(ConnectionError):
                await station.call("Heartbeat", {})

    asyncio.run(run())


def test_knows_when_the_csms_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with SmallCsms(tmp_path) as csms:
            csms.silent_actions.add("Heartbeat")
            station = await LightStation.open(csms.urls["profile3"], "CS-1", context=context_with_certificate(csms))
            waiting = asyncio.create_task(station.call("Heartbeat", {}))
            await csms.until_received("CS-1", "Heartbeat", 1)
            await csms.visit("CS-1").connection.close(1008, "revoked")
            assert await station.closed <= asyncio.get_running_loop().time()
            with pytest.raises(ConnectionError):
                await waiting

    asyncio.run(run())


def test_is_refused_with_the_status(tmp_path: Path) -> None:
    async def run() -> None:
        async with SmallCsms(tmp_path, passwords={"CS-1": "right"}) as csms:
            context = client_context([csms.server.root])
            url = csms.urls["profile2"]
            with pytest.raises(RefusedError) as refusal:
                await LightStation.open(url, "CS-1", context=context, credentials=Credentials("CS-1", "wrong"))
            assert (refusal.value.kind, refusal.value.status) == (RefusalKind.HTTP, 401)
            right = Credentials("CS-1", "right")
            station = await LightStation.open(url, "CS-1", context=context, credentials=right)
            station.abort()
            await station.closed

    asyncio.run(run())


def test_is_refused_by_tls_without_a_certificate(tmp_path: Path) -> None:
    async def run() -> None:
        async with SmallCsms(tmp_path) as csms:
            with pytest.raises(RefusedError) as refusal:
                await LightStation.open(csms.urls["profile3"], "CS-1", context=client_context([csms.server.root]))
            assert refusal.value.kind is RefusalKind.TLS

    asyncio.run(run())


def test_nobody_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with SmallCsms(tmp_path) as csms:
            url = csms.urls["profile2"]
        with pytest.raises(OSError, match="Connect"):
            await LightStation.open(url, "CS-1", context=client_context([csms.server.root]))

    asyncio.run(run())
