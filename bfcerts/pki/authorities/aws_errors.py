"""What AWS's refusals and silences mean to us: each becomes one of the errors of `base`, with what to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import MappingProxyType

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from bfcerts.pki.authorities.base import (
    AuthorityError,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    RequestRefused,
    Throttled,
)
from bfcerts.pki.certificates import CertificateError

_THROTTLING = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
)
_THROTTLED_FOR = timedelta(seconds=2)
# A quota that is used up, as of certificates per CA, is not free again after two seconds.
_QUOTA_FOR = timedelta(minutes=5)
_MISCONFIGURED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidArnException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidStateException",
        "MissingAuthenticationTokenException",
        "NoSuchBucket",
        "ResourceNotFoundException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "MalformedCSRException": "malformed_csr",
        "InvalidArgsException": "invalid_arguments",
        "InvalidRequestException": "invalid_arguments",
        "ValidationException": "invalid_arguments",
        "RequestFailedException": "failed",
    }
)
_CHECK_THE_CA = "its state, the ARN in BFCERTS_AWS_PRIVATE_CA_ARNS and the IAM rights of the PKI process"


@contextmanager
def translated(asked: str, check: str = _CHECK_THE_CA) -> Iterator[None]:
    """Raise what AWS answers, or does not, as an `AuthorityError`.

    :param asked: who is asked: the ARN of a CA, or a bucket.
    :param check: what an operator has to look at when it cannot be used.
    """
    try:
        yield
    except ClientError as error:
        raise _of_answer(asked, check, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AuthorityMisconfigured(
            f"There are no credentials for {asked}: {error}. Give the PKI process an IAM role or keys."
        ) from error
    except ParamValidationError as error:
        raise RequestRefused("invalid_arguments", f"{asked} cannot be asked for that: {error}") from error
    except (EndpointConnectionError, ConnectTimeoutError) as error:
        raise AuthorityUnavailable(
            f"{asked} cannot be reached ({error}); there is no answer, and the request is repeated.", sent=False
        ) from error
    except BotoCoreError as error:
        raise AuthorityUnavailable(f"{asked} gave no answer ({error}); the request is repeated.") from error
    except CertificateError as error:
        raise AuthorityUnavailable(f"{asked} answered with something else than a certificate.") from error


def code_of(error: ClientError) -> str:
    """The name of an error answer in the service model."""
    return str(error.response.get("Error", {}).get("Code", ""))


def unavailable(asked: str, error: ClientError) -> AuthorityUnavailable:
    """An error answer that says "not now"."""
    return AuthorityUnavailable(f"{asked} cannot answer now ({code_of(error)}); the request is repeated.")


def _of_answer(asked: str, check: str, error: ClientError) -> AuthorityError:
    code = code_of(error)
    text = str(error.response.get("Error", {}).get("Message", "")) or "no reason given"
    if code in _THROTTLING:
        return Throttled(f"{asked} is asked too often; the request is repeated.", _THROTTLED_FOR)
    if code == "LimitExceededException":
        return Throttled(f"A quota of {asked} is used up: {text} The request is repeated.", _QUOTA_FOR)
    if code in _MISCONFIGURED:
        return AuthorityMisconfigured(f"{asked} cannot be used ({code}: {text}): check {check}.")
    if code in _REFUSED:
        return RequestRefused(_REFUSED[code], f"{asked} refused the request ({code}: {text}).")
    return unavailable(asked, error)
