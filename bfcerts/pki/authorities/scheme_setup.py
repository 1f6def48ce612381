"""A scheme's CA as an installation is configured: its anchors and credentials are read here, by the PKI process."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from bfcerts.authorizations import Authorization, Basic, Bearer, BearerFile, ClientCredentials, Nobody, TokenRequest
from bfcerts.bounded_http import SYSTEM_ANCHORS, BoundedHttp, ClientCertificate, Limits, tls_context
from bfcerts.pki.authorities.base import AuthorityMisconfigured
from bfcerts.pki.authorities.est import EstAuthority
from bfcerts.pki.authorities.scheme_settings import (
    AUTHORITIES_SETTING,
    CREDENTIALS_SETTING,
    SchemeAuthority,
    SchemeCredentials,
)
from bfcerts.pki.certificates import CertificateError, ParsedCertificate, parse_certificate, split_chain
from bfcerts.pki.est.client import EstClient


def build(
    trust_domain: str,
    settings: SchemeAuthority,
    credentials: SchemeCredentials | None,
    *,
    clock: Callable[[], datetime],
) -> EstAuthority:
    """One CA as it is configured; it is not asked yet.

    :raises AuthorityMisconfigured: with one sentence, which holds no secret.
    """
    where = f"{AUTHORITIES_SETTING}, {trust_domain}"
    anchors = _anchors(settings.anchors, where)
    limits = Limits(settings.connect_seconds, settings.read_seconds, settings.total_seconds)
    try:
        context = tls_context(_named(settings.server_anchors, where), _certificate(credentials, trust_domain))
        http = BoundedHttp(settings.url, context, limits=limits)
    except ValueError as error:
        raise AuthorityMisconfigured(f"{where} cannot be used: {error}.") from None
    try:
        authorization = _authorization(credentials, trust_domain, limits)
    except ValueError as error:
        raise AuthorityMisconfigured(f"{CREDENTIALS_SETTING}, {trust_domain} cannot be used: {error}.") from None
    client = EstClient(
        http,
        paths=settings.paths,
        authorization=authorization,
        headers=settings.headers,
        clock=clock,
    )
    return EstAuthority(client, trust_domain, anchors, clock=clock)


def _anchors(place: Path, where: str) -> list[ParsedCertificate]:
    text = _text(place, where)
    try:
        return [parse_certificate(one) for one in split_chain(text)]
    except CertificateError as error:
        raise AuthorityMisconfigured(f"{where}: {place} holds no anchors: {error.message}") from None


def _named(anchors: str, where: str) -> str:
    return anchors if anchors == SYSTEM_ANCHORS else _text(Path(anchors), where)


def _text(place: Path, where: str) -> str:
    try:
        return place.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise AuthorityMisconfigured(f"{where}: {place} cannot be read ({error.strerror}).") from None


def _certificate(credentials: SchemeCredentials | None, trust_domain: str) -> ClientCertificate | None:
    if credentials is None or credentials.certificate is None or credentials.key is None:
        return None
    where = f"{CREDENTIALS_SETTING}, {trust_domain}"
    return ClientCertificate(_text(credentials.certificate, where), _text(credentials.key, where).encode())


def _authorization(credentials: SchemeCredentials | None, trust_domain: str, limits: Limits) -> Authorization:
    match credentials:
        case SchemeCredentials(user=str(user), password=password) if password is not None:
            return Basic(user, password.get_secret_value())
        case SchemeCredentials(token=token) if token is not None:
            return Bearer(token.get_secret_value())
        case SchemeCredentials(token_file=Path() as place):
            return BearerFile(place)
        case SchemeCredentials(client_id=str(client), client_secret=secret, token_url=str(url)) if secret is not None:
            where = f"{CREDENTIALS_SETTING}, {trust_domain}"
            base, path = _split(url)
            request = TokenRequest(
                client, secret.get_secret_value(), path, credentials.audience, as_json=not credentials.token_form
            )
            context = tls_context(_named(credentials.token_anchors, where))
            return ClientCredentials(BoundedHttp(base, context, limits=limits), request)
        case _:
            return Nobody()


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts._replace(path="").geturl(), parts.path or "/"
