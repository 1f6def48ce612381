"""Turning signed contract data into EXI, by a codec of the operator's: none is part of this project.

The setting names it: `python:package.module.Class` for a class of the process, which is made without arguments, or
`command:` and a program with its arguments, which is asked once for each answer over its standard input and output.
"""

import base64
import binascii
import json
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, Protocol, cast

from django.conf import settings

from bfcerts.configuration import ConfigurationError
from provisioning.pools.exi import LARGEST, looks_like_exi

SECONDS: Final = 3.0
_LARGEST_OUTPUT: Final = 2 * LARGEST


class ExiCodecError(Exception):
    """The codec gave no answer that can be used; the message says why, and holds nothing of the data."""


@dataclass(frozen=True, slots=True)
class Turning:
    """What a codec is asked for.

    :ivar signed_data: XML as a provisioning service makes it; None for the answer that there is no contract.
    :ivar request: the car's request in EXI, where there was one: the answer carries its session id.
    :ivar session_id: where it was given apart.
    """

    namespace: str
    update: bool
    signed_data: bytes | None
    request: bytes | None
    session_id: bytes | None


class ExiCodec(Protocol):
    """Makes a CertificateInstallationRes or CertificateUpdateRes in EXI."""

    def turn(self, asked: Turning) -> bytes:
        """
        :raises ExiCodecError: when it cannot.
        """


class CommandCodec:
    """A program that reads one JSON object and writes one.

    It is given `namespace`, `update`, and as base64, where there are any, `signedContractData`, `request` and
    `sessionId`; it answers `{"exi": base64}` or `{"error": sentence}`.
    """

    def __init__(self, arguments: Sequence[str], *, seconds: float = SECONDS) -> None:
        self._arguments = list(arguments)
        self._seconds = seconds

    def turn(self, asked: Turning) -> bytes:
        given = {
            "namespace": asked.namespace,
            "update": asked.update,
            **_encoded("signedContractData", asked.signed_data),
            **_encoded("request", asked.request),
            **_encoded("sessionId", asked.session_id),
        }
        name = self._arguments[0]
        try:
            done = subprocess.run(  # the operator's own program, from the configuration, without a shell
                self._arguments,
                input=json.dumps(given).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self._seconds,
                env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ExiCodecError(f"The EXI codec {name} did not answer within {self._seconds:g} seconds.") from None
        except OSError as error:
            raise ExiCodecError(f"The EXI codec {name} could not be started: {error.strerror}.") from None
        if done.returncode != 0 or len(done.stdout) > _LARGEST_OUTPUT:
            raise ExiCodecError(f"The EXI codec {name} ended with {done.returncode} and no answer that can be used.")
        return _exi_in(done.stdout, name)


def configured() -> ExiCodec | None:
    """The codec of the configuration; None where there is none.

    :raises ConfigurationError: when the setting names nothing that can be used.
    """
    return _made(settings.CONFIGURATION.pool_exi_codec)


@lru_cache(maxsize=4)
def _made(setting: str) -> ExiCodec | None:
    if not setting:
        return None
    kind, _, rest = setting.partition(":")
    if kind == "command" and (arguments := shlex.split(rest)):
        return CommandCodec(arguments)
    module, _, name = rest.rpartition(".")
    if kind != "python" or not module:
        raise ConfigurationError(
            "BFCERTS_POOL_EXI_CODEC has to be “python:package.module.Class” or “command:/path/to/program”"
        )
    try:
        made: Any = getattr(import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"BFCERTS_POOL_EXI_CODEC names {rest}, which cannot be used: {error}") from None
    return cast(ExiCodec, made)


def _encoded(name: str, octets: bytes | None) -> dict[str, str]:
    return {} if octets is None else {name: base64.b64encode(octets).decode()}


def _exi_in(output: bytes, name: str) -> bytes:
    try:
        answer = json.loads(output)
        exi = base64.b64decode(answer["exi"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise ExiCodecError(f"The EXI codec {name} answered without EXI.") from None
    if not looks_like_exi(exi) or len(exi) > LARGEST:
        raise ExiCodecError(f"The EXI codec {name} answered with something else than EXI.")
    return exi
