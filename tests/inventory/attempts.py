"""Handshakes as the gateway hands them to a door."""

import base64
from datetime import datetime

from bfcerts.ocpp.registry import ConnectionAttempt, PresentedCertificate
from inventory.models import CertificateRecord


def certificate_attempt(record: CertificateRecord, now: datetime, station_id: str = "") -> ConnectionAttempt:
    """A mutual-TLS handshake with the record's certificate, by its own station unless another one is named."""
    body = "".join(line for line in record.certificate_pem.splitlines() if not line.startswith("-----"))
    return ConnectionAttempt(
        station_id=station_id or record.identity.authoritative_identifier,
        address="127.0.0.1",
        listener="profile3",
        protocol="ocpp2.0.1",
        certificate=PresentedCertificate(record.fingerprint, base64.b64decode(body)),
        password=None,
        now=now,
    )


def password_attempt(station_id: str, password: bytes | None, now: datetime) -> ConnectionAttempt:
    """A handshake with HTTP Basic."""
    return ConnectionAttempt(
        station_id=station_id,
        address="127.0.0.1",
        listener="profile2",
        protocol="ocpp2.0.1",
        certificate=None,
        password=password,
        now=now,
    )
