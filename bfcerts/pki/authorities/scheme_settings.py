"""The schemes' CAs that an installation enrols with, and what they are shown: JSON from the environment.

What is not secret stands in BFCERTS_EST_AUTHORITIES, what is in BFCERTS_EST_CREDENTIALS or in the files that it names;
the PKI process alone has either. Both are by trust domain.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, model_validator

from bfcerts.bounded_http import SYSTEM_ANCHORS
from bfcerts.pki.authorities.base import AuthorityMisconfigured
from bfcerts.pki.est.messages import Paths

AUTHORITIES_SETTING: Final = "BFCERTS_EST_AUTHORITIES"
CREDENTIALS_SETTING: Final = "BFCERTS_EST_CREDENTIALS"

Path_ = Annotated[str, Field(pattern=r"^/[!-~]{0,400}$")]
Seconds = Annotated[float, Field(gt=0, le=300)]
_STANDARD = Paths()


class SchemeAuthority(BaseModel):
    """One CA, as it is reached.

    :ivar url: https://host[:port][/path]; the paths are below it.
    :ivar anchors: file with the roots of this trust domain in PEM, to which the chain of what it issues has to lead.
    :ivar server_anchors: file with the CAs that its TLS certificate may be from, or "system".
    :ivar headers: sent along with every request.
    :ivar per_second: how many requests for a certificate are made of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(max_length=400)
    anchors: Path
    server_anchors: str = Field(max_length=400)
    cacerts: Path_ = _STANDARD.ca_certificates
    simpleenroll: Path_ = _STANDARD.enrol
    headers: dict[str, Annotated[str, Field(pattern=r"^[ -~]{0,200}$")]] = Field({}, max_length=20)
    per_second: float = Field(1.0, gt=0, le=1000)
    connect_seconds: Seconds = 5.0
    read_seconds: Seconds = 15.0
    total_seconds: Seconds = 30.0

    @property
    def paths(self) -> Paths:
        """A renewal is a new enrolment: to renew over EST one shows the former certificate, whose key we never have."""
        return Paths(self.cacerts, self.simpleenroll, None)


class SchemeCredentials(BaseModel):
    """What one CA is shown: a password, a token, a file with a token, or a client that fetches tokens; and, or only, a
    TLS client certificate with its key.

    :ivar token_url: https://host/path of the authorization server (RFC 6749 §4.4).
    :ivar token_anchors: as `SchemeAuthority.server_anchors`, for that server.
    :ivar token_form: ask for tokens with a form, instead of JSON as OPCP documents it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str | None = Field(None, pattern=r"^[^:]{1,200}$")
    password: SecretStr | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    client_id: str | None = Field(None, max_length=400)
    client_secret: SecretStr | None = None
    token_url: str | None = Field(None, max_length=400)
    token_anchors: str = Field(SYSTEM_ANCHORS, max_length=400)
    token_form: bool = False
    audience: str = Field("", max_length=400)
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "SchemeCredentials":
        together = (
            ("user and password", (self.user, self.password)),
            ("client_id, client_secret and token_url", (self.client_id, self.client_secret, self.token_url)),
            ("certificate and key", (self.certificate, self.key)),
        )
        for names, values in together:
            if any(values) and not all(values):
                raise ValueError(f"{names} are given together")
        ways = [self.user, self.token, self.token_file, self.client_id]
        if sum(way is not None for way in ways) > 1:
            raise ValueError("give one of user, token, token_file and client_id")
        if not any(ways) and self.certificate is None:
            raise ValueError("give a user, a token, a token_file, a client_id or a certificate")
        return self


def read_authorities(text: str | None) -> Mapping[str, SchemeAuthority]:
    """The CAs by trust domain.

    :raises AuthorityMisconfigured: naming the place that is wrong.
    """
    return _read(text, AUTHORITIES_SETTING, SchemeAuthority)


def read_credentials(text: SecretStr | None) -> Mapping[str, SchemeCredentials]:
    """What they are shown, by trust domain.

    :raises AuthorityMisconfigured: naming the place that is wrong, and never what stands there.
    """
    return _read(text.get_secret_value() if text else None, CREDENTIALS_SETTING, SchemeCredentials)


_Model = TypeVar("_Model", bound=BaseModel)


def _read(text: str | None, setting: str, kind: type[_Model]) -> Mapping[str, _Model]:
    if not text:
        return {}
    try:
        parsed: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise AuthorityMisconfigured(f'{setting} is not JSON; write it as {{"iso15118_evse_leaf": {{…}}}}.') from None
    try:
        found: dict[str, _Model] = TypeAdapter(dict[str, kind]).validate_python(parsed)  # type: ignore[valid-type]
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'the whole'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise AuthorityMisconfigured(f"{setting} cannot be used: {places}.") from None
    return found
