"""What the gateway shows to an upstream: passwords and client certificates, from its environment and nowhere else."""

import json
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, model_validator

from bfcerts.configuration import ConfigurationError
from bfcerts.ocpp.relay.addresses import PLACE

SETTING: Final = "BFCERTS_UPSTREAM_CREDENTIALS"


class UpstreamCredential(BaseModel):
    """One named credential: a password for HTTP Basic, a client certificate with its key, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = Field(PLACE, pattern=r"^[^:]{1,200}$")
    password: SecretStr | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "UpstreamCredential":
        if self.password is None and self.certificate is None:
            raise ValueError("give a password, or the paths of a certificate and its key")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key are given together")
        return self

    def headers(self, station_id: str) -> dict[str, str]:
        """The Authorization header of RFC 7617, or none."""
        if self.password is None:
            return {}
        pair = f"{self.user.replace(PLACE, station_id)}:{self.password.get_secret_value()}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


Credentials = Annotated[dict[str, UpstreamCredential], Field(max_length=1000)]


def read(text: SecretStr | None) -> dict[str, UpstreamCredential]:
    """
    :raises ConfigurationError: naming the place that is wrong, and never what stands there.
    """
    if text is None:
        return {}
    try:
        parsed: Any = json.loads(text.get_secret_value())
    except ValueError:
        raise ConfigurationError(f'{SETTING} is not JSON; write it as {{"name": {{"password": "…"}}}}') from None
    try:
        return TypeAdapter(Credentials).validate_python(parsed)
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'the whole'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
        )
        raise ConfigurationError(f"{SETTING} cannot be used: {places}") from None


def tls_context(ca_bundle: str, credential: UpstreamCredential | None) -> ssl.SSLContext:
    """A client context: TLS 1.2 at least, the server verified against these certificates or else the system's roots.

    :raises ssl.SSLError, OSError: when the bundle, or the certificate and key of the credential, cannot be read.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=ca_bundle or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if credential is not None and credential.certificate is not None and credential.key is not None:
        context.load_cert_chain(credential.certificate, credential.key)
    return context
