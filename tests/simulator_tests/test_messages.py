"""What the station answers to each CALL of the CSMS, good ones and bad ones."""

import asyncio
import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.ocsp import OCSPRequestBuilder

from tests.simulator import EventKind, Quirks, SerialStyle
from tests.simulator.hash_data import serial_text
from tests.simulator_tests.authority import Authority, pem
from tests.simulator_tests.scene import PASSWORD, STATION, scene, scene_on_profile_3, set_variable

NEW_PASSWORD = "another-password-of-33-characters"


def installed(root: x509.Certificate, algorithm: hashes.HashAlgorithm) -> dict[str, str]:
    """Hash data as an independent implementation computes it."""
    request = OCSPRequestBuilder().add_certificate(root, root, algorithm).build()
    return {
        "hashAlgorithm": algorithm.name.upper(),
        "issuerNameHash": request.issuer_name_hash.hex(),
        "issuerKeyHash": request.issuer_key_hash.hex(),
        "serialNumber": f"{root.serial_number:x}",
    }


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda a: a.name)
def test_tc_m_12_17_18_19_installed_roots_are_listed_with_their_hashes(
    tmp_path: Path, algorithm: hashes.HashAlgorithm
) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(hash_algorithm=algorithm.name.upper())) as (csms, station):
            await station.connect()
            answer = await csms.ask(STATION, "GetInstalledCertificateIds", {})
            assert answer["status"] == "Accepted"
            assert answer["certificateHashDataChain"] == [
                {"certificateType": "CSMSRootCertificate", "certificateHashData": installed(root, algorithm)}
                for root in (csms.server.root, csms.chargers.root)
            ]
            only = {"certificateType": ["V2GRootCertificate"]}
            assert await csms.ask(STATION, "GetInstalledCertificateIds", only) == {"status": "NotFound"}

    asyncio.run(run())


def test_tc_m_01_20_a_root_is_installed_and_deleted_by_its_hash_data(tmp_path: Path) -> None:
    async def run() -> None:
        another = Authority("another")
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            payload = {"certificateType": "CSMSRootCertificate", "certificate": pem(another.root)}
            assert await csms.ask(STATION, "InstallCertificate", payload) == {"status": "Accepted"}
            assert another.root in station.store.roots()
            asked = {"certificateHashData": installed(another.root, hashes.SHA256())}
            assert await csms.ask(STATION, "DeleteCertificate", asked) == {"status": "Accepted"}
            assert another.root not in station.store.roots()
            assert await csms.ask(STATION, "DeleteCertificate", asked) == {"status": "NotFound"}

    asyncio.run(run())


def test_what_is_no_root_is_rejected(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            for certificate in (pem(csms.chargers.issuing), "nonsense"):
                payload = {"certificateType": "CSMSRootCertificate", "certificate": certificate}
                assert (await csms.ask(STATION, "InstallCertificate", payload))["status"] == "Rejected"
            assert len(station.store.roots()) == 2

    asyncio.run(run())


def test_tc_m_21_the_last_root_and_the_own_certificate_are_not_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, _, leaf):
            request = OCSPRequestBuilder().add_certificate(leaf, csms.chargers.issuing, hashes.SHA256()).build()
            own = {
                "hashAlgorithm": "SHA256",
                "issuerNameHash": request.issuer_name_hash.hex(),
                "issuerKeyHash": request.issuer_key_hash.hex(),
                "serialNumber": f"{leaf.serial_number:x}",
            }
            answer = await csms.ask(STATION, "DeleteCertificate", {"certificateHashData": own})
            assert answer["status"] == "Failed"
            statuses = []
            for root in (csms.server.root, csms.chargers.root):
                asked = {"certificateHashData": installed(root, hashes.SHA256())}
                statuses.append((await csms.ask(STATION, "DeleteCertificate", asked))["status"])
            assert statuses == ["Accepted", "Failed"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("style", "text"),
    [(SerialStyle.BARE, "abc"), (SerialStyle.UPPER_CASE, "ABC"), (SerialStyle.PADDED, "0ABC")],
)
def test_serial_numbers_are_written_in_the_stations_style(style: SerialStyle, text: str) -> None:
    assert serial_text(0xABC, style) == text
    assert len(serial_text(0xAB, style)) == 2


def test_only_the_own_spelling_of_a_serial_is_found(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(serial_style=SerialStyle.UPPER_CASE)) as (csms, station):
            await station.connect()
            data = installed(csms.server.root, hashes.SHA256())
            bare = await csms.ask(STATION, "DeleteCertificate", {"certificateHashData": data})
            data["serialNumber"] = data["serialNumber"].upper()
            upper = await csms.ask(STATION, "DeleteCertificate", {"certificateHashData": data})
            assert (bare["status"], upper["status"]) == ("NotFound", "Accepted")

    asyncio.run(run())


def test_tc_a_09_a_new_password_is_used_by_connecting_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            csms.passwords[STATION] = NEW_PASSWORD
            payload = set_variable("SecurityCtrlr", "BasicAuthPassword", NEW_PASSWORD)
            result = await csms.ask(STATION, "SetVariables", payload)
            assert result["setVariableResult"][0]["attributeStatus"] == "Accepted"
            await csms.until(lambda: len(csms.visits) == 2)
            await station.wait_for(lambda station: station.connected)
            assert station.events.of(EventKind.DISCONNECTED)[-1]["departure"] == "password"
            assert station.store.state.password == NEW_PASSWORD

    asyncio.run(run())


@pytest.mark.parametrize(("password", "quirks"), [("short", Quirks()), (NEW_PASSWORD, Quirks(reject_password=True))])
def test_tc_a_10_a_rejected_password_leaves_the_old_one(tmp_path: Path, password: str, quirks: Quirks) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=quirks) as (csms, station):
            await station.connect()
            payload = set_variable("SecurityCtrlr", "BasicAuthPassword", password)
            result = await csms.ask(STATION, "SetVariables", payload)
            assert result["setVariableResult"][0]["attributeStatus"] == "Rejected"
            station.drop()
            await csms.until(lambda: len(csms.visits) == 2)
            assert station.store.state.password == PASSWORD

    asyncio.run(run())


def test_variables_are_read_but_never_the_password(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            names = [
                ("SecurityCtrlr", "BasicAuthPassword"),
                ("SecurityCtrlr", "SecurityProfile"),
                ("ChargingStation", "SerialNumber"),
                ("SecurityCtrlr", "Nonsense"),
                ("Nonsense", "Nonsense"),
            ]
            data = [{"component": {"name": c}, "variable": {"name": v}} for c, v in names]
            answer = await csms.ask(STATION, "GetVariables", {"getVariableData": data})
            results = answer["getVariableResult"]
            assert [(each["attributeStatus"], each.get("attributeValue")) for each in results] == [
                ("Rejected", None),
                ("Accepted", "2"),
                ("Accepted", f"SN-{STATION}"),
                ("UnknownVariable", None),
                ("UnknownComponent", None),
            ]
            report = {"requestId": 5, "reportBase": "FullInventory"}
            assert await csms.ask(STATION, "GetBaseReport", report) == {"status": "Accepted"}
            await csms.until(lambda: any(not part["tbc"] for part in csms.received(STATION, "NotifyReport")))
            parts = csms.received(STATION, "NotifyReport")
            assert [part["seqNo"] for part in parts] == list(range(len(parts)))
            assert PASSWORD not in str(parts)
            assert "OrganizationName" in str(parts)

    asyncio.run(run())


def test_a_variable_set_is_kept_over_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            payload = set_variable("SecurityCtrlr", "OrganizationName", "Stadtwerke")
            await csms.ask(STATION, "SetVariables", payload)
            await csms.ask(STATION, "Reset", {"type": "Immediate"})
            await station.wait_for(lambda station: len(station.events.of(EventKind.BOOTED)) == 2)
            await station.sign_certificate()
            csr = x509.load_pem_x509_csr((await csms.next_csr(STATION)).encode())
            assert "O=Stadtwerke" in csr.subject.rfc4514_string()

    asyncio.run(run())


@contextmanager
def upload_server(gate: threading.Event) -> Iterator[tuple[str, list[bytes]]]:
    """Takes PUTs on loopback, answering once `gate` is set."""
    bodies: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:  # the name that http.server looks for
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            gate.wait(10)
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep the test output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/logs/1", bodies
    finally:
        gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def log_request(request_id: int, location: str) -> dict[str, Any]:
    return {"logType": "SecurityLog", "requestId": request_id, "log": {"remoteLocation": location}}


def test_tc_n_25_the_security_log_is_uploaded(tmp_path: Path) -> None:
    async def run() -> None:
        gate = threading.Event()
        gate.set()
        with upload_server(gate) as (location, bodies):
            async with scene(tmp_path) as (csms, station):
                await station.connect()
                await station.security_event("TamperDetectionActivated", "the door")
                answer = await csms.ask(STATION, "GetLog", log_request(1, location))
                assert answer["status"] == "Accepted"
                await csms.until(lambda: len(csms.received(STATION, "LogStatusNotification")) == 2)
                assert csms.received(STATION, "LogStatusNotification") == [
                    {"status": "Uploading", "requestId": 1},
                    {"status": "Uploaded", "requestId": 1},
                ]
        assert b"TamperDetectionActivated the door" in bodies[0]

    asyncio.run(run())


def test_tc_n_36_a_second_request_cancels_the_first_upload(tmp_path: Path) -> None:
    async def run() -> None:
        gate = threading.Event()
        with upload_server(gate) as (location, _):
            async with scene(tmp_path) as (csms, station):
                await station.connect()
                await csms.ask(STATION, "GetLog", log_request(1, location))
                await csms.until(lambda: bool(csms.received(STATION, "LogStatusNotification")))
                await station.wait_for(lambda station: station.uploads.busy)
                answer = await csms.ask(STATION, "GetLog", log_request(2, location))
                assert answer["status"] == "AcceptedCanceled"
                cancelled = {"status": "AcceptedCanceled", "requestId": 1}
                await csms.until(lambda: cancelled in csms.received(STATION, "LogStatusNotification"))
                gate.set()
                uploaded = {"status": "Uploaded", "requestId": 2}
                await csms.until(lambda: uploaded in csms.received(STATION, "LogStatusNotification"))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("location", "status"),
    [("ftp://localhost/log", "NotSupportedOperation"), ("http://127.0.0.1:1/log", "UploadFailure")],
)
def test_an_upload_that_fails_is_told(tmp_path: Path, location: str, status: str) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            await csms.ask(STATION, "GetLog", log_request(7, location))
            told = {"status": status, "requestId": 7}
            await csms.until(lambda: told in csms.received(STATION, "LogStatusNotification"))

    asyncio.run(run())


def test_triggers(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            await station.wait_for_event(EventKind.SECURITY_EVENT_SENT)
            for message in ("BootNotification", "Heartbeat", "StatusNotification", "LogStatusNotification"):
                wanted = len(csms.received(STATION, message)) + 1
                answer = await csms.ask(STATION, "TriggerMessage", {"requestedMessage": message})
                assert answer == {"status": "Accepted"}
                await csms.until_received(STATION, message, wanted)
            unknown = {"requestedMessage": "MeterValues"}
            assert await csms.ask(STATION, "TriggerMessage", unknown) == {"status": "NotImplemented"}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("ChangeAvailability", {"operationalStatus": "Operative"}, "NotSupported"),
        ("NoSuchThing", {}, "NotImplemented"),
        ("../../../etc/passwd", {}, "NotImplemented"),
        ("Reset", {"type": "Sideways"}, "PropertyConstraintViolation"),
        ("Reset", {}, "OccurrenceConstraintViolation"),
        ("Reset", {"type": 1}, "TypeConstraintViolation"),
    ],
)
def test_calls_that_cannot_be_served_get_a_callerror(
    tmp_path: Path, action: str, payload: dict[str, Any], code: str
) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            frame = await csms.call(STATION, action, payload)
            assert frame[0] == 4
            assert frame[2] == code
            await station.heartbeat()

    asyncio.run(run())


def test_violations_of_the_csms_are_noted(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            connection = csms.visit(STATION).connection
            for text in ("no json", "[]", '[2,"1"]', '[9,"1",{}]', '{"a":1}'):
                before = station.events.last_number
                await connection.send(text)
                await station.wait_for_event(EventKind.PROTOCOL_VIOLATION, after=before)
            station.quirks = Quirks(slow=0.05)
            before = station.events.last_number
            await connection.send('[2,"a","GetInstalledCertificateIds",{}]')
            await connection.send('[2,"b","GetInstalledCertificateIds",{}]')
            violation = await station.wait_for_event(EventKind.PROTOCOL_VIOLATION, after=before)
            assert "another CALL was unanswered" in violation["detail"]
            csms.answers["Heartbeat"] = {"currentTime": 5}
            before = station.events.last_number
            await station.call("Heartbeat", {})
            assert station.events.of(EventKind.PROTOCOL_VIOLATION, after=before)

    asyncio.run(run())


def test_raw_frames_are_sent_as_they_are_and_stray_answers_noted(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            await station.send_raw("{not json")
            await csms.until(lambda: (STATION, [0, "{not json"]) in csms.frames)
            await csms.visit(STATION).connection.send('[3,"never-asked",{}]')
            event = await station.wait_for_event(EventKind.STRAY_ANSWER)
            assert event["frame"] == '[3,"never-asked",{}]'
            with pytest.raises(ValueError, match="SecurityEventNotification"):
                await station.call("SecurityEventNotification", {"type": "x" * 51, "timestamp": "now"})
            await station.call("Heartbeat", {"unknown": True}, check=False)

    asyncio.run(run())


def test_the_password_is_in_no_event_line(tmp_path: Path) -> None:
    async def run() -> None:
        from tests.simulator.describe import describe

        async with scene(tmp_path) as (csms, station):
            await station.connect()
            csms.passwords[STATION] = NEW_PASSWORD
            await csms.ask(STATION, "SetVariables", set_variable("SecurityCtrlr", "BasicAuthPassword", NEW_PASSWORD))
            await csms.until(lambda: len(csms.visits) == 2)
            lines = "\n".join(describe(event) for event in station.events) + station.events.tail(100)
            assert "password changed" in lines
            assert NEW_PASSWORD not in lines
            assert PASSWORD not in lines
            assert hashlib.sha256(PASSWORD.encode()).hexdigest() not in lines

    asyncio.run(run())
