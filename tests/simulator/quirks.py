"""How one station departs from the standard: each switch was seen on a real station or is an attack.

A `Quirks` value is plain data: it reads from and writes to JSON (`from_mapping`, `to_mapping`), and a running
station takes a new one at any time (`station.quirks = replace(station.quirks, slow=…)`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tests.simulator.problems import problems_of


class WrongCsr(StrEnum):
    """A certificate signing request that must be refused (`VERSION_2` alone deserves to be read)."""

    FOREIGN_NAME = "foreign_name"
    """The common name is `Quirks.wrong_csr_name`: unknown, or another station's."""
    CA_AND_FOREIGN_USES = "ca_and_foreign_uses"
    """Asks for CA:TRUE, code signing and e-mail use, and a name in SubjectAltName."""
    BAD_SIGNATURE = "bad_signature"
    """Signed with another key than the one it carries."""
    VERSION_2 = "version_2"
    """Says version 2 where PKCS #10 knows only 1, else correct: openssl reads it, python refuses it."""
    RSA_1024 = "rsa_1024"
    """A key that is too short."""


class SubjectRule(StrEnum):
    """What the station writes into the subject of its CSR."""

    STATION_ID = "station_id"
    """CN=station id, O=SecurityCtrlr.OrganizationName."""
    SERIAL_NUMBER = "serial_number"
    """C, O, DC=CPO and CN=serial number."""


class SerialStyle(StrEnum):
    """How certificateHashData writes serial numbers; the station finds only what is written the same way."""

    BARE = "bare"
    """Lower-case, no leading zeroes, as OCPP 2.0.1 asks."""
    UPPER_CASE = "upper_case"
    """Upper-case, no leading zeroes."""
    PADDED = "padded"
    """Upper-case, padded with a zero to whole bytes."""


class KeyForm(StrEnum):
    """What an OCPP 1.6 station makes of the hexadecimal digits of its AuthorizationKey (TC_073)."""

    DECODED = "decoded"
    """The bytes that the digits stand for."""
    AS_SENT = "as_sent"
    """The digits themselves."""
    DECODED_IF_PRINTABLE = "decoded_if_printable"
    """The bytes, where each of them is a printable character, else the digits."""


class PlugAndCharge(StrEnum):
    """The dialect in which an OCPP 1.6 station says the messages of Plug and Charge, by its vendor id."""

    NONE = ""
    """It knows none."""
    OPEN_CHARGE_ALLIANCE = "org.openchargealliance.iso15118pnc"
    HAS_TO_BE = "iso15118"


class MessageIdStyle(StrEnum):
    """How the station names its CALLs (at most 36 characters)."""

    UUID = "uuid"
    COUNTER = "counter"
    """1, 2, 3 … and from 1 again after each connect."""
    TIMESTAMP = "timestamp"
    """Microseconds since 1970."""


class QuirksError(ValueError):
    """A quirk is unknown or has a value of the wrong kind; the message names it."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """All defaults together are a well-behaved station."""

    reject_install: bool = False
    """Refuses every CertificateSigned and reports InvalidChargingStationCertificate (TC_A_14)."""
    plug_and_charge: PlugAndCharge = PlugAndCharge.NONE
    """Of an OCPP 1.6 station; 2.0.1 has the messages itself."""
    reject_evse_install: bool = False
    """Refuses every certificate for its EVSE: in 1.6 on the inner level, while the outer one says Accepted."""
    evse_needs_organization: bool = False
    """Refuses to make a request for its EVSE before it was told an organization."""
    reject_root_install: bool = False
    """Answers InstallCertificate with Failed (TC_M_05)."""
    reject_password: bool = False
    """Answers SetVariables(BasicAuthPassword) with Rejected (TC_A_10)."""
    stays_after_password_change: bool = False
    """Accepts a new password and does not reconnect by itself."""
    password_needs_reboot: bool = False
    """Answers RebootRequired to a new password, and uses it after the next Reset."""
    second_key_slot: bool = False
    """Keeps the password before, and goes back to it when the new one is refused; others have one slot only."""
    key_form: KeyForm = KeyForm.DECODED
    shows_key: bool = False
    """Tells its AuthorizationKey in GetConfiguration, in clear (OCPP 1.6)."""
    never_reconnect: bool = False
    """After it left by itself (new certificate, new password, Reset) it does not come back."""
    reconnect_with_old_certificate: bool = False
    """Accepts a new certificate and goes on presenting the one before."""
    loses_new_key: bool = False
    """Installs a certificate and loses the key that belongs to it: on Profile 3 it has nothing to present."""
    present_latest_not_after: bool = False
    """Presents the leaf that ends last, whatever is newer."""
    no_boot_notification_after_reconnect: bool = True
    """As real stations do; False sends BootNotification after every connect."""
    close_before_answering: bool = False
    """Installs what CertificateSigned brings, but is gone before it answers, without a close frame."""
    drop_mid_message: tuple[str, ...] = ()
    """Cuts the connection in the middle of a CALL or answer: once for each action named here."""
    wrong_csr: WrongCsr | None = None
    wrong_csr_name: str = "INTRUDER"
    """Common name of a CSR with `WrongCsr.FOREIGN_NAME`."""
    renews_on_its_own: bool = False
    """Sends SignCertificate when its certificate has less than 30 days; see `Timings.own_renewal_*`."""
    requests_missing_certificate: bool = False
    """Sends SignCertificate after a boot without any certificate, untriggered."""
    upgrades_in_place: bool = False
    """With its first certificate it raises its own profile to 3 on the same URL (a dual listener)."""
    falls_back_to_profile_2: bool = False
    """When it cannot get in on a higher profile it goes back to the lower one by itself (OCPP 1.6; in 2.0.1 the network
    priority says so)."""
    lowers_profile: bool = False
    """Takes a lower security profile when the CSMS asks for it."""
    slow: float = 0.0
    """Seconds it takes to answer a CALL."""
    reboot_seconds: float = 0.0
    """How long a restart takes; 0 is `Timings.boot_delay`."""
    clock_offset_seconds: float = 0.0
    """How wrong its clock is, from when it is switched on; positive is in the future."""
    subject_rule: SubjectRule = SubjectRule.STATION_ID
    subject_extras: bool = False
    """Adds ST, L, OU and an e-mail address to the subject."""
    needs_root_in_chain: bool = False
    """Rejects a chain in CertificateSigned that does not contain its root."""
    rejects_root_in_chain: bool = False
    """Rejects a chain in CertificateSigned that contains a root."""
    only_last_root_trusted: bool = False
    """Trusts the CSMS root that was installed last and no other, and reconnects at once after each."""
    store_size: int = 0
    """How many roots it can hold; 0 is more than anybody installs."""
    serial_style: SerialStyle = SerialStyle.BARE
    hash_algorithm: str = "SHA256"
    """Of the hash data that it reports: SHA256, SHA384 or SHA512 (TC_M_17-19)."""
    trigger_accepted_no_csr: bool = False
    """Accepts TriggerMessage(SignChargingStationCertificate) and never sends the CSR."""
    no_extended_trigger: bool = False
    """Knows no ExtendedTriggerMessage and understands its words in TriggerMessage (OCPP 1.6)."""
    second_csr_refused_while_pending: bool = False
    """Rejects a trigger while a CSR is unanswered."""
    repeats_sign_certificate: bool = False
    """Repeats SignCertificate after CertSigningWaitMinimum, doubling, CertSigningRepeatTimes times."""
    reuse_key: bool = False
    """Asks for the new certificate with the key of the present one."""
    resume_tls_session: bool = False
    """Offers its earlier TLS session in every handshake."""
    duplicate_message_ids: bool = False
    """Gives all its CALLs the same message id."""
    message_id_style: MessageIdStyle = MessageIdStyle.UUID
    log_status_before_answer: bool = False
    """Sends LogStatusNotification before GetLog is answered."""
    basic_user_name: str = ""
    """Another user name than the station id (TC_A_02)."""
    url_identity: str = ""
    """Connects to another station's address with its own credentials (TC_A_08)."""
    subprotocols: tuple[str, ...] = ()
    """Offers these instead of its own (TC_B_58)."""
    tls_version: str = ""
    """The only TLS version it speaks: 1.1, 1.2 or 1.3 (TC_A_06)."""
    tls_ciphers: str = ""
    """OpenSSL cipher list for TLS 1.2 and below (TC_A_04)."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Quirks":
        """
        :raises QuirksError: names the unknown switch or the wrong value.
        """
        try:
            return _ADAPTER.validate_python(dict(mapping))
        except ValidationError as error:
            raise QuirksError(f"quirks: {problems_of(error)}") from None

    def to_mapping(self) -> dict[str, Any]:
        """What differs from a well-behaved station, ready for JSON."""
        full: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return {field.name: full[field.name] for field in fields(self) if getattr(self, field.name) != field.default}


_ADAPTER = TypeAdapter(Quirks)
