"""Certificate revocation lists of our own CAs (RFC 5280 §5), built as a pure function."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asn1crypto import core
from asn1crypto import crl as asn1
from asn1crypto import x509 as asn1_x509

from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.revocation import ENCODED_REASONS, UNSPECIFIED, Revocation
from bfcerts.pki.signers import Signer

CONTENT_TYPE = "application/pkix-crl"


def build_crl(
    *,
    issuer: ParsedCertificate,
    signer: Signer,
    revoked: Mapping[str, Revocation],
    number: int,
    this_update: datetime,
    next_update: datetime,
) -> bytes:
    """A complete list of one CA, in DER (RFC 5280 §5.1, §5.2.3).

    :param signer: has the private key of `issuer`.
    :param revoked: by serial number in hexadecimal.
    :param number: greater than that of any list of this CA before.
    :param this_update: aware; `next_update` likewise. Whole seconds are told.
    """
    algorithm = {"algorithm": signer.algorithm}
    body: dict[str, Any] = {
        "version": "v2",
        "signature": algorithm,
        "issuer": asn1_x509.Name.load(issuer.subject_der),
        "this_update": _time(this_update),
        "next_update": _time(next_update),
        "crl_extensions": [
            {
                "extn_id": "authority_key_identifier",
                "critical": False,
                "extn_value": {"key_identifier": _key_identifier(issuer)},
            },
            {"extn_id": "crl_number", "critical": False, "extn_value": number},
        ],
    }
    if revoked:
        # RFC 5280 §5.1.2.6: the list is absent, and not empty, where nothing is revoked.
        body["revoked_certificates"] = [_entry(serial, revoked[serial]) for serial in sorted(revoked)]
    listed = asn1.TbsCertList(body)
    encoded: bytes = asn1.CertificateList(
        {
            "tbs_cert_list": listed,
            "signature_algorithm": algorithm,
            "signature": signer.sign(listed.dump()),
        }
    ).dump()
    return encoded


def _entry(serial_hex: str, revocation: Revocation) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "user_certificate": int(serial_hex, 16),
        "revocation_date": _time(revocation.moment),
    }
    if revocation.reason != UNSPECIFIED:
        # RFC 5280 §5.3.1: absent instead of "unspecified".
        reason = {
            "extn_id": "crl_reason",
            "critical": False,
            "extn_value": ENCODED_REASONS[revocation.reason],
        }
        entry["crl_entry_extensions"] = [reason]
    return entry


def _time(moment: datetime) -> asn1_x509.Time:
    whole = moment.astimezone(UTC).replace(microsecond=0)
    # RFC 5280 §5.1.2.4: UTCTime through 2049, GeneralizedTime from 2050 on.
    if whole.year < 2050:
        return asn1_x509.Time(name="utc_time", value=core.UTCTime(whole))
    return asn1_x509.Time(name="general_time", value=core.GeneralizedTime(whole))


def _key_identifier(issuer: ParsedCertificate) -> bytes:
    encoded = asn1_x509.Certificate.load(issuer.der)
    return encoded.key_identifier or bytes(encoded.public_key.sha1)
