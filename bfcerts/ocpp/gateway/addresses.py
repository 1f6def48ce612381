"""The address and the station id of a connection, as the wire gives them."""

import ipaddress
import re
from typing import Final
from urllib.parse import unquote

LONGEST_STATION_ID: Final = 48
# OCPP 2.0.1 part 2 §2.1.1: identifierString; part 4 §3.1.1: percent-encoded as the last part of the path
_STATION_ID: Final = re.compile(r"[A-Za-z0-9*\-_=:+|@.]{1,48}", re.ASCII)


def station_id(path: str) -> str | None:
    """The station id at the end of a request's path, or None where there is none that OCPP allows."""
    encoded = path.partition("?")[0].rpartition("/")[2]
    try:
        decoded = unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return None
    return decoded if _STATION_ID.fullmatch(decoded) else None


def is_station_id(text: str) -> bool:
    """Whether a station of this name could ever connect."""
    return _STATION_ID.fullmatch(text) is not None


def plain_address(peername: object) -> str:
    """The peer's address as PostgreSQL holds it: no scope, and IPv4 as IPv4 on a socket that takes both."""
    host = str(peername[0]) if isinstance(peername, tuple) and peername else "::"
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
