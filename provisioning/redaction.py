"""What is kept of an external answer: no secrets, no private keys, and no certificates where none may be stored."""

import json
import re
from typing import Any, Final

REDACTED: Final = "[redacted]"
_SECRET: Final = re.compile(
    r"password|passphrase|passwd|secret|private[ ._-]?key|auth\w*[ ._-]?key|api[ ._-]?key|authorization|cookie|"
    r"\btoken\b|(access|refresh|id|bearer)[ ._-]?token|assertion|\bpin\b",
    re.IGNORECASE,
)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_CERTIFICATE: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*(CERTIFICATE|PKCS7|CMS)-----.*?(-----END [A-Z0-9 ]*-----|\Z)", re.DOTALL
)
_BEARER: Final = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


def clean(value: Any, *, keep_certificates: bool) -> Any:
    """A copy of JSON without what must not be kept; what was left out is said in its place.

    :param keep_certificates: whether the ownership decision lets certificates be stored.
    """
    if isinstance(value, str):
        return _clean_text(value, keep_certificates)
    if isinstance(value, list):
        return [clean(item, keep_certificates=keep_certificates) for item in value]
    if isinstance(value, dict):
        return {
            clean(str(key), keep_certificates=keep_certificates): REDACTED
            if _SECRET.search(str(key)) and not isinstance(item, bool)
            else clean(item, keep_certificates=keep_certificates)
            for key, item in value.items()
        }
    return value


def _clean_text(text: str, keep_certificates: bool) -> str:
    text = _PRIVATE_KEY.sub("[private key left out]", text.replace("\x00", ""))
    text = _BEARER.sub(lambda found: f"{found.group(1)} {REDACTED}", text)
    return text if keep_certificates else _CERTIFICATE.sub("[certificate left out, by its ownership decision]", text)


def size_of(value: Any) -> int:
    """Bytes of JSON."""
    return len(json.dumps(value, separators=(",", ":")).encode())
