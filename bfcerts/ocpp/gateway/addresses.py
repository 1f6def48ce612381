"""The address and the station id of a connection, as the wire gives them."""

import ipaddress
from urllib.parse import unquote

from bfcerts.identifiers import is_station_id


def station_id(path: str) -> str | None:
    """The station id at the end of a request's path, or None where there is none that OCPP allows.

    It is percent-encoded as the last part of the path (OCPP 2.0.1 part 4 §3.1.1).
    """
    encoded = path.partition("?")[0].rpartition("/")[2]
    try:
        decoded = unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return None
    return decoded if is_station_id(decoded) else None


def plain_address(peername: object) -> str:
    """The peer's address as PostgreSQL holds it: no scope, and IPv4 as IPv4 on a socket that takes both."""
    host = str(peername[0]) if isinstance(peername, tuple) and peername else "::"
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
