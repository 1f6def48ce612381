"""How we show other parties' servers who we are over HTTP: a password, a token, or a token that is fetched.

What is secret stands in no message, log line or representation; `redact` takes it out of what a server wrote, because
servers repeat in their errors what they were sent.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

from bfcerts.bounded_http import BoundedHttp, HttpError

_HIDDEN = "[…]"
_RENEWED_BEFORE_SECONDS = 60.0
_SHORTEST_LIFE_SECONDS = 30.0
_LARGEST_TOKEN = 16384


class NoAuthorizationError(Exception):
    """There is nothing to show; the message says why, in one sentence without any secret.

    :ivar passing: whether the same may work later without anybody's help.
    """

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.message = message
        self.passing = passing


class Authorization(Protocol):
    """What goes into the Authorization header."""

    def header(self) -> str | None:
        """Its value; None for none.

        :raises NoAuthorizationError: when there is none to be had.
        """

    def refused(self) -> bool:
        """A server did not take it (401 or 403); whether `header` gives another one now."""

    def redact(self, text: str) -> str:
        """The text without what is secret."""


class Nobody:
    """No Authorization header: the server knows us by our TLS certificate, or does not care."""

    def header(self) -> None:
        return None

    def refused(self) -> bool:
        return False

    def redact(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Basic:
    """A user and a password (RFC 7617), as UTF-8."""

    user: str
    password: str = field(repr=False)

    def header(self) -> str:
        return f"Basic {self._encoded}"

    def refused(self) -> bool:
        return False

    def redact(self, text: str) -> str:
        return _without(text, self.password, self._encoded)

    @property
    def _encoded(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


@dataclass(frozen=True)
class Bearer:
    """A token that does not change (RFC 6750).

    :raises ValueError: for a text that is none.
    """

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _is_token(self.token):
            raise ValueError("a token is printable ASCII without blanks")

    def header(self) -> str:
        return f"Bearer {self.token}"

    def refused(self) -> bool:
        return False

    def redact(self, text: str) -> str:
        return _without(text, self.token)


class BearerFile:
    """A token in a file that something else renews; read for every request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown: list[str] = []

    def header(self) -> str:
        token = self._read()
        if token not in self._shown:
            self._shown = [*self._shown[-1:], token]
        return f"Bearer {token}"

    def refused(self) -> bool:
        return self._shown[-1:] != [self._read()]

    def redact(self, text: str) -> str:
        return _without(text, *self._shown)

    def _read(self) -> str:
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise NoAuthorizationError(f"No token can be read from {self._path}.", passing=True) from None
        if not _is_token(token):
            raise NoAuthorizationError(f"{self._path} holds no token.", passing=True)
        return token


@dataclass(frozen=True)
class TokenRequest:
    """What is asked of an authorization server (RFC 6749 §4.4; OPCP POST /oauth/token).

    :ivar path: below the server's base address.
    :ivar audience: left out where it is empty.
    :ivar as_json: JSON as OPCP documents it, else a form as RFC 6749 does.
    """

    client_id: str
    client_secret: str = field(repr=False)
    path: str = "/oauth/token"
    audience: str = ""
    as_json: bool = True

    def body(self) -> tuple[str, bytes]:
        """Content type and body."""
        values = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "grant_type": "client_credentials",
            **({"audience": self.audience} if self.audience else {}),
        }
        if self.as_json:
            return "application/json", json.dumps(values).encode()
        return "application/x-www-form-urlencoded", urlencode(values).encode()


class ClientCredentials:
    """A token that an authorization server gives for our client's secret, kept until shortly before its end.

    :param clock: monotonic seconds.
    """

    def __init__(
        self, http: BoundedHttp, request: TokenRequest, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._request = request
        self._clock = clock
        self._token = ""
        self._ends = 0.0

    def header(self) -> str:
        if not self._token or self._clock() >= self._ends:
            self._fetch()
        return f"Bearer {self._token}"

    def refused(self) -> bool:
        self._ends = 0.0
        return True

    def redact(self, text: str) -> str:
        return _without(text, self._token, self._request.client_secret)

    def _fetch(self) -> None:
        kind, body = self._request.body()
        headers = {"Content-Type": kind, "Accept": "application/json"}
        server = self._http.server
        try:
            answer = self._http.call("POST", self._request.path, headers=headers, body=body)
        except HttpError as error:
            raise NoAuthorizationError(f"No token: {error.message}", passing=True) from None
        if answer.status != 200:
            passing = answer.status == 429 or answer.status >= 500
            raise NoAuthorizationError(f"{server} gives no token: it answered {answer.status}.", passing=passing)
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = None
        token = said.get("access_token") if isinstance(said, Mapping) else None
        if not isinstance(token, str) or not _is_token(token):
            raise NoAuthorizationError(f"{server} answered without a token.", passing=True)
        lasts = said.get("expires_in")
        seconds = float(lasts) if isinstance(lasts, int | float) and not isinstance(lasts, bool) else 0.0
        self._token = token
        self._ends = self._clock() + max(min(seconds, 86400.0) - _RENEWED_BEFORE_SECONDS, _SHORTEST_LIFE_SECONDS)


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= _LARGEST_TOKEN


def _without(text: str, *hidden: str) -> str:
    for one in hidden:
        # A secret of a few characters would stand in half of all words.
        if len(one) >= 4:
            text = text.replace(one, _HIDDEN)
    return text
