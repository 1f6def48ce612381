"""The four processes of the process model: the command of each, and an environment with only its own secrets."""

import os
import sys
from typing import Any

from bfcerts.configuration import Configuration
from bfcerts.stored_secrets import stored_secret
from bfcerts.supervisor import manage


def common_environment() -> dict[str, str]:
    """The environment without any secret of ours: each process is given only its own."""
    secret = ("BFCERTS_SECRET_KEY", "BFCERTS_PKI_SECRET_KEY", "BFCERTS_LOCAL_CA_KEY", "BFCERTS_GATEWAY_KEY")
    named = ("BFCERTS_CREDENTIAL_KEY", "BFCERTS_UPSTREAM_CREDENTIALS", "BFCERTS_EST_CREDENTIALS", "DATABASE_URL")
    hidden = {*secret, *named}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def processes(configuration: Configuration, database_url: str) -> dict[str, tuple[list[str], dict[str, str]]]:
    """The four processes of the process model, each with the secrets that it may have and no others.

    :raises ConfigurationError: when a secret is missing that may not be made up.
    """
    var = configuration.var_directory

    def secret(name: str, given: Any) -> str:
        return str(given.get_secret_value()) if given else stored_secret(var, name)

    common = {
        **common_environment(),
        "DATABASE_URL": database_url,
        "BFCERTS_VAR_DIRECTORY": str(var),
    }
    signing = {"BFCERTS_SECRET_KEY": secret("secret_key", configuration.secret_key)}
    credential = {"BFCERTS_CREDENTIAL_KEY": configuration.credential_secret().decode()}
    gateway_key = {"BFCERTS_GATEWAY_KEY": secret("gateway_key", configuration.gateway_key)}
    if configuration.upstream_credentials:
        gateway_key["BFCERTS_UPSTREAM_CREDENTIALS"] = configuration.upstream_credentials.get_secret_value()
    authority = {
        "BFCERTS_PKI_SECRET_KEY": stored_secret(var, "pki_secret_key"),
        "BFCERTS_LOCAL_CA_KEY": stored_secret(var, "local_ca_key"),
        "BFCERTS_LOCAL_CA_ALLOWED": "true",
    }
    if configuration.est_credentials:
        authority["BFCERTS_EST_CREDENTIALS"] = configuration.est_credentials.get_secret_value()
    web = [
        sys.executable,
        "-m",
        "gunicorn",
        "bfcerts.wsgi:application",
        "--bind",
        f"{configuration.web_bind}:{configuration.web_port}",
        "--worker-class",
        "gthread",
        "--threads",
        "8",
        "--no-control-socket",
    ]
    return {
        "pki-worker": (manage("pki_worker"), {**common, **authority, "BFCERTS_PROCESS": "pki"}),
        "worker": (manage("worker"), {**common, **signing, **credential, "BFCERTS_PROCESS": "worker"}),
        "gateway": (
            manage("gateway"),
            {**common, **signing, **credential, **gateway_key, "BFCERTS_PROCESS": "gateway"},
        ),
        "web": (web, {**common, **signing, **credential, "BFCERTS_PROCESS": "web"}),
    }
