"""End-entity profiles: what a certificate of ours may be used for. Extensions come from here alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"


class AlternativeNames(StrEnum):
    """Which subject alternative names a profile carries; a CSR never adds one."""

    NONE = "none"
    DNS_OF_REQUEST = "dns_of_request"


class KeyUsage(StrEnum):
    """The key usages of RFC 5280 §4.2.1.3 that an end entity of ours may have."""

    DIGITAL_SIGNATURE = "digital_signature"
    KEY_ENCIPHERMENT = "key_encipherment"
    KEY_AGREEMENT = "key_agreement"


@dataclass(frozen=True)
class EndEntityProfile:
    """The extensions of one kind of certificate; basic constraints are always critical and cA FALSE.

    :ivar key_usages: what the extension names, critical. Key encipherment is given to RSA keys only and key
        agreement to EC keys only, since no other key can do it.
    :ivar extended_key_usages: dotted OIDs; the extension is left out where there are none.
    :ivar aws_template: template of AWS Private CA with the same effect; None where it has none.
    """

    name: str
    extended_key_usages: tuple[str, ...]
    key_usages: tuple[KeyUsage, ...]
    aws_template: str | None
    alternative_names: AlternativeNames = AlternativeNames.NONE


PROFILES: Mapping[str, EndEntityProfile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            EndEntityProfile(
                name="charger_client",
                extended_key_usages=(CLIENT_AUTH,),
                key_usages=(KeyUsage.DIGITAL_SIGNATURE,),
                aws_template="EndEntityClientAuthCertificate/V1",
            ),
            EndEntityProfile(
                name="vehicle_client",
                extended_key_usages=(CLIENT_AUTH,),
                key_usages=(KeyUsage.DIGITAL_SIGNATURE,),
                aws_template="EndEntityClientAuthCertificate/V1",
            ),
            # Key encipherment is what the static-RSA suites need, which an operator may switch on.
            EndEntityProfile(
                name="server",
                extended_key_usages=(SERVER_AUTH,),
                key_usages=(KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_ENCIPHERMENT),
                aws_template="EndEntityServerAuthCertificate/V1",
                alternative_names=AlternativeNames.DNS_OF_REQUEST,
            ),
            # As the SECC leaves of the ISO 15118-2 pools: digital signature and key agreement, no more.
            EndEntityProfile(
                name="evse_leaf",
                extended_key_usages=(),
                key_usages=(KeyUsage.DIGITAL_SIGNATURE, KeyUsage.KEY_AGREEMENT),
                aws_template=None,
            ),
            EndEntityProfile(
                name="ocsp_responder",
                extended_key_usages=(OCSP_SIGNING,),
                key_usages=(KeyUsage.DIGITAL_SIGNATURE,),
                aws_template="OCSPSigningCertificate/V1",
            ),
        )
    }
)


def profile(name: str) -> EndEntityProfile:
    """The profile of that name.

    :raises ValueError: naming the profiles there are.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(f"There is no certificate profile {name!r}; there are {', '.join(PROFILES)}.") from None
