"""The client's side of EST: what is asked, and what an answer means (RFC 7030 §4.1, §4.2; RFC 8951).

It repeats nothing by itself, but for one try with a fresh token: whether the same request is sent again is decided by
the job that wanted it, because EST knows no idempotency key and a server may make another certificate of it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bfcerts.authorizations import Authorization, NoAuthorizationError, Nobody
from bfcerts.bounded_http import Answer, BoundedHttp, HttpError, NotTrusted
from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.est.messages import (
    CERTIFICATES_TYPE,
    REQUEST_TYPE,
    MessageError,
    Paths,
    decode_certificates,
    encode_request,
    media_type,
    retry_after,
)

_ACCEPTED = f"{CERTIFICATES_TYPE}, application/pkcs7, application/pkcs10;q=0.5, */*;q=0.1"
_UNAUTHORISED = frozenset({401, 403, 407, 511})
_NOT_SO = frozenset({400, 406, 409, 411, 413, 415, 422, 431})
_LATER = frozenset({425, 429, 503})
_LONGEST_REASON = 300
_LOOKS_SECRET = re.compile(r"[A-Za-z0-9+/_=.-]{41,}")


class EstError(Exception):
    """An EST server did not do what it was asked; the message says why, in one sentence without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class EstRefused(EstError):  # noqa: N818  # what happened, not who erred
    """The server will never do this; sending it again changes nothing."""


class EstNotAuthorised(EstError):  # noqa: N818
    """The server does not let us, or we do not trust it: its address, our credentials or its anchors are wrong."""


class EstMisconfigured(EstError):  # noqa: N818
    """There is no such operation at that address; an operator has to look at the paths."""


class EstThrottled(EstError):  # noqa: N818
    """The server asks for patience without having taken the request."""

    def __init__(self, message: str, wait: timedelta) -> None:
        super().__init__(message)
        self.wait = wait


class EstUnavailable(EstError):  # noqa: N818
    """No answer, or none that can be used; the same request may be sent again.

    :ivar sent: whether the request may have arrived, so that its outcome is unknown.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True)
class Enrolled:
    """The server's certificates, in no order that means anything: the leaf, and whatever it put beside it."""

    certificates: tuple[ParsedCertificate, ...]


@dataclass(frozen=True)
class WaitingUntil:
    """The server has taken the request and wants to be asked again, with the same one (RFC 7030 §4.2.3)."""

    moment: datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EstClient:
    """One EST server, with one way to authenticate.

    A TLS client certificate is part of the `http` that is given; to renew with the certificate that is renewed
    (RFC 7030 §3.3.2), make a client with that one.

    :param paths: those of RFC 7030 where none are given.
    :param headers: sent with every request, as a scheme may ask for.
    :param clock: the time now, aware.
    """

    def __init__(
        self,
        http: BoundedHttp,
        *,
        paths: Paths | None = None,
        authorization: Authorization | None = None,
        headers: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._http = http
        self._paths = paths or Paths()
        self._authorization = authorization or Nobody()
        self._headers = dict(headers or {})
        self._clock = clock

    @property
    def server(self) -> str:
        """Scheme, host and port, as messages name it."""
        return self._http.server

    def ca_certificates(self) -> tuple[ParsedCertificate, ...]:
        """The server's CAs (cacerts): not trusted by having come, and in no order that means anything.

        :raises EstError: when there are none to be had.
        """
        answer = self._ask("GET", self._paths.ca_certificates, {"Accept": _ACCEPTED}, None)
        if answer.status != 200:
            raise self._failure(answer)
        return self._certificates(answer)

    def enrol(self, csr_der: bytes) -> Enrolled | WaitingUntil:
        """Ask for a certificate (simpleenroll).

        :raises EstError: when there is none.
        """
        return self._request(self._paths.enrol, csr_der)

    def renew(self, csr_der: bytes) -> Enrolled | WaitingUntil:
        """Ask for another certificate of the same subject (simplereenroll); a new enrolment where there is none.

        :raises EstError: when there is none.
        """
        return self._request(self._paths.renew or self._paths.enrol, csr_der)

    def _request(self, path: str, csr_der: bytes) -> Enrolled | WaitingUntil:
        headers = {"Content-Type": REQUEST_TYPE, "Content-Transfer-Encoding": "base64", "Accept": _ACCEPTED}
        answer = self._ask("POST", path, headers, encode_request(csr_der))
        if answer.status == 202:
            now = self._clock()
            return WaitingUntil(now + retry_after(answer.headers.get("retry-after"), now))
        if answer.status != 200:
            raise self._failure(answer)
        return Enrolled(self._certificates(answer))

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = self._call(method, path, headers, body)
        if answer.status in (401, 403) and self._renewed():
            answer = self._call(method, path, headers, body)
        return answer

    def _renewed(self) -> bool:
        try:
            return self._authorization.refused()
        except NoAuthorizationError:
            return False

    def _call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        try:
            shown = self._authorization.header()
        except NoAuthorizationError as error:
            if error.passing:
                raise EstUnavailable(error.message, sent=False) from None
            raise EstNotAuthorised(error.message) from None
        sent = {**headers, **self._headers, **({"Authorization": shown} if shown else {})}
        try:
            return self._http.call(method, path, headers=sent, body=body)
        except NotTrusted as error:
            raise EstNotAuthorised(error.message) from None
        except HttpError as error:
            raise EstUnavailable(error.message, sent=error.sent) from None

    def _certificates(self, answer: Answer) -> tuple[ParsedCertificate, ...]:
        try:
            return decode_certificates(answer.body, answer.headers.get("content-type", ""))
        except MessageError as error:
            raise EstUnavailable(
                f"{self.server} answered 200, but not with certificates: {error.message}", sent=True
            ) from None

    def _failure(self, answer: Answer) -> EstError:
        status = answer.status
        said = f"{self.server} answered {status}{self._reason(answer)}."
        if status in _UNAUTHORISED:
            return EstNotAuthorised(said)
        if status in _NOT_SO:
            return EstRefused(said)
        if status in _LATER:
            return EstThrottled(said, retry_after(answer.headers.get("retry-after"), self._clock()))
        if status >= 500 and status not in (501, 505):
            return EstUnavailable(said, sent=True)
        if status == 408:
            return EstUnavailable(said, sent=False)
        return EstMisconfigured(said)

    def _reason(self, answer: Answer) -> str:
        """What the server said of it, in its own words and ours; a page of HTML says nothing."""
        kind = media_type(answer.headers.get("content-type", ""))
        text = ""
        if kind.endswith("json"):
            text = _said_in_json(answer.body)
        elif kind == "text/plain":
            text = answer.body.decode("utf-8", "replace")
        elif kind:
            text = f"with {kind[:60]}"
        words = " ".join("".join(one if one.isprintable() else " " for one in text).split())
        if not words:
            return ""
        # What looks like a part of a token or a key is not repeated either.
        shown = _LOOKS_SECRET.sub("[…]", self._authorization.redact(words))
        return f" ({shown[:_LONGEST_REASON].rstrip('.')})"


def _said_in_json(body: bytes) -> str:
    """The sentences of an error of OPCP, with its trace id, or of RFC 9457; nothing of what is neither."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, Mapping):
        return ""
    messages = said.get("errorMessages")
    sentences = [str(one) for one in messages] if isinstance(messages, list) else []
    sentences += [str(said[name]) for name in ("title", "detail", "error", "error_description") if said.get(name)]
    if said.get("traceId"):
        sentences.append(f"trace id {said['traceId']}")
    return "; ".join(sentences)
