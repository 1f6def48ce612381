"""Keeping secrets out of what is stored: a station may echo a password that it was given, or list one in clear."""

import re
from collections.abc import Collection
from typing import Any, Final

from bfcerts.ocpp.canonical import Payload

REDACTED: Final = "[redacted]"

# BasicAuthPassword of 2.0.1 is write-only and AuthorizationKey of 1.6 too, yet stations were seen to return them.
_SECRET_NAME: Final = re.compile(
    r"password|passphrase|auth\w*[ ._-]?key|secret|private[ ._-]?key|\bpin\b", re.IGNORECASE
)
_NAMED_BY: Final = ("name", "key")
_VALUES: Final = ("attributeValue", "value")


def redact(value: Any, secrets: Collection[str] = ()) -> Any:
    """A copy without secrets: the values of variables whose name says that they are secret, and `secrets` anywhere.

    :param secrets: the values that this very command carried.
    """
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, list):
        return [redact(item, secrets) for item in value]
    if isinstance(value, dict):
        secret_holder = _names_a_secret(value)
        return {
            redact(key, secrets): REDACTED if secret_holder and key in _VALUES else redact(item, secrets)
            for key, item in value.items()
        }
    return value


def _names_a_secret(holder: Payload) -> bool:
    variable = holder.get("variable")
    named = [holder.get(name) for name in _NAMED_BY]
    if isinstance(variable, dict):
        named.append(variable.get("name"))
    return any(isinstance(name, str) and _SECRET_NAME.search(name) for name in named)
