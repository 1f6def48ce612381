"""Distinguished names and general names as text, read tolerantly from asn1crypto's structures.

asn1crypto and not cryptography reads them, because names with a wrong string type, an over-long country or an
IDN have to be shown to an operator and compared exactly, not refused by a parser.
"""

import ipaddress
from types import MappingProxyType

from asn1crypto import core
from asn1crypto import x509 as asn1

SHORT_NAMES = MappingProxyType(
    {
        "2.5.4.3": "CN",
        "2.5.4.4": "SN",
        "2.5.4.5": "serialNumber",
        "2.5.4.6": "C",
        "2.5.4.7": "L",
        "2.5.4.8": "ST",
        "2.5.4.9": "STREET",
        "2.5.4.10": "O",
        "2.5.4.11": "OU",
        "2.5.4.12": "title",
        "2.5.4.42": "GN",
        "0.9.2342.19200300.100.1.1": "UID",
        "0.9.2342.19200300.100.1.25": "DC",
        "1.2.840.113549.1.9.1": "emailAddress",
    }
)
OBJECT_IDENTIFIERS = MappingProxyType({short: dotted for dotted, short in SHORT_NAMES.items()})

Attributes = tuple[tuple[str, str], ...]


class UnsafeNameError(ValueError):
    """A name that cannot be compared safely, such as one with control characters in it."""


def relative_names(name: asn1.Name) -> tuple[Attributes, ...]:
    """The relative distinguished names in encoded order, each of (short name or dotted OID, value)."""
    return tuple(tuple((_short_name(part), _value(part)) for part in relative_name) for relative_name in name.chosen)


def attributes(relative: tuple[Attributes, ...]) -> Attributes:
    """All attributes of a name in encoded order, without their grouping."""
    return tuple(attribute for relative_name in relative for attribute in relative_name)


def common_names(pairs: Attributes) -> tuple[str, ...]:
    """The values of all CN attributes; a name may hold several, and who reads one only is deceived."""
    return tuple(value for name, value in pairs if name == "CN")


def text(relative: tuple[Attributes, ...]) -> str:
    """The name as RFC 4514 writes it, most specific first and multi-valued parts joined by "+", as openssl does."""
    return ",".join(
        "+".join(f"{name}={_escaped(value)}" for name, value in reversed(relative_name))
        for relative_name in reversed(relative)
    )


def general_name(name: asn1.GeneralName) -> str:
    """One alternative name as "DNS:…", "IP:…", "URI:…", "EMAIL:…", "DIRNAME:…", "RID:…" or "OTHER:oid".

    Host names stay as they are encoded (an IDN is not turned into Unicode), so that a comparison is exact.
    """
    kind, value = name.name, name.chosen
    match kind:
        case "dns_name":
            return f"DNS:{_visible(value.contents)}"
        case "rfc822_name":
            return f"EMAIL:{_visible(value.contents)}"
        case "uniform_resource_identifier":
            return f"URI:{_visible(value.contents)}"
        case "ip_address":
            return f"IP:{_address(value.contents)}"
        case "directory_name":
            return f"DIRNAME:{text(relative_names(value))}"
        case "registered_id":
            return f"RID:{value.dotted}"
        case "other_name":
            return f"OTHER:{value['type_id'].dotted}"
        case _:
            return f"OTHER:{kind}"


def _short_name(part: asn1.NameTypeAndValue) -> str:
    dotted = str(part["type"].dotted)
    return SHORT_NAMES.get(dotted, dotted)


def _value(part: asn1.NameTypeAndValue) -> str:
    value = part["value"]
    if isinstance(value, core.Any):
        value = value.parse()
    if isinstance(value, core.Choice):
        value = value.chosen
    if isinstance(value, asn1.DNSName | asn1.EmailAddress | core.IA5String):
        decoded = str(value.contents, "ascii")
    elif isinstance(value, core.AbstractString):
        decoded = str(value.native)
    else:
        return f"#{part['value'].dump().hex()}"
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in decoded):
        raise UnsafeNameError("a name holds control characters")
    return decoded


def _escaped(value: str) -> str:
    escaped = "".join(f"\\{character}" if character in ',+"\\<>;' else character for character in value)
    if escaped.startswith(("#", " ")):
        escaped = f"\\{escaped}"
    if escaped.endswith(" ") and len(value) > 1:
        escaped = f"{escaped[:-1]}\\ "
    return escaped


def _visible(contents: bytes) -> str:
    return "".join(chr(octet) if 0x21 <= octet <= 0x7E and octet != 0x5C else f"\\x{octet:02x}" for octet in contents)


def _address(contents: bytes) -> str:
    return str(ipaddress.ip_address(contents)) if len(contents) in (4, 16) else contents.hex()
