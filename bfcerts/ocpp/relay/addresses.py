"""Addresses of upstream CSMSs: what one may look like, which of them may be dialled, and what a station's is."""

from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

PLACE: Final = "{station_id}"
"""Where the station id goes in an address; without it, it is the last part of the path (OCPP 2.0.1 part 4 §3.1.1)."""

_DEFAULT_PORTS: Final = {"wss": 443, "ws": 80}

Origin = tuple[str, str, int]
"""Scheme, host in lower case, and port."""


class AddressError(ValueError):
    """An address that cannot be dialled; the text says why, and what to write instead."""


def origin_of(url: str) -> Origin:
    """What of an address the allow-list names.

    :raises AddressError: for what is not a plain wss:// or ws:// address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressError(f"“{url}” is not an address; write it as wss://host/path") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise AddressError(f"“{url}” is not an address of a CSMS; it begins with wss:// (or ws://) and names a host")
    _refuse_extras(url, parts)
    return parts.scheme, parts.hostname.lower(), _DEFAULT_PORTS[parts.scheme] if port is None else port


def _refuse_extras(url: str, parts: SplitResult) -> None:
    if parts.username is not None or parts.password is not None:
        raise AddressError(
            f"an address with a user or a password in it is not stored; name a credential of the gateway's environment "
            f"instead, and write only {parts.scheme}://{parts.hostname}{parts.path}"
        )
    if parts.query or parts.fragment:
        raise AddressError(f"“{url}” has a query or a fragment; an OCPP address ends with its path")
    if not url.isascii() or any(character.isspace() or ord(character) < 32 for character in url):
        raise AddressError(f"“{url}” holds a character that no address may hold; percent-encode it")


def origins_of(allowed: Iterable[str]) -> frozenset[Origin]:
    """
    :raises AddressError: when an entry is no address, or says more than scheme, host and port.
    """
    origins = set()
    for entry in allowed:
        if urlsplit(entry).path.strip("/"):
            raise AddressError(f"“{entry}” has a path; an entry is wss://host or wss://host:port")
        origins.add(origin_of(entry))
    return frozenset(origins)


def check(url: str, allowed: Collection[Origin]) -> None:
    """Whether this address may be dialled.

    :raises AddressError: when it is none, or not on the list.
    """
    scheme, host, port = origin_of(url)
    if (scheme, host, port) not in allowed:
        raise AddressError(
            f"{scheme}://{host}:{port} is not among the addresses that may be dialled; add it to "
            "BFCERTS_UPSTREAM_ALLOWED of the gateway and web processes, then try again"
        )


def of_station(url: str, station_id: str) -> str:
    """The address of one station at an upstream, its id percent-encoded.

    :raises AddressError: for an id that would mean another path.
    """
    if not station_id.strip("."):
        raise AddressError(f"the station id “{station_id}” cannot be part of an address; it means another path")
    encoded = quote(station_id, safe="")
    if PLACE in url:
        return url.replace(PLACE, encoded)
    return f"{url.rstrip('/')}/{encoded}"
