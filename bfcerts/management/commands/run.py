"""`manage.py run`: the whole control plane, and on request a small fleet of simulated chargers, on one machine."""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from bfcerts.configuration import Configuration, stored_secret
from bfcerts.supervisor import Supervisor, manage

READY_SECONDS = 90.0


class Command(BaseCommand):
    help = "Run web, gateway, worker and PKI worker together; for a first look or a small installation."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fleet", type=int, default=0, metavar="N", help="also run N simulated chargers")

    def handle(self, *args: Any, **options: Any) -> None:
        configuration: Configuration = settings.CONFIGURATION
        self._check_ports(configuration)
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        supervisor = Supervisor(configuration.var_directory / "logs", sys.stdout)
        signal.signal(signal.SIGINT, supervisor.request_stop)
        signal.signal(signal.SIGTERM, supervisor.request_stop)
        try:
            self._run(configuration, supervisor, options["fleet"])
        finally:
            self.stdout.write("Stopping.")
            supervisor.stop()

    def _check_ports(self, configuration: Configuration) -> None:
        ports = {
            "BFCERTS_WEB_PORT": (configuration.web_bind, configuration.web_port),
            "BFCERTS_GATEWAY_PROFILE2_PORT": (configuration.gateway_bind, configuration.gateway_profile2_port),
            "BFCERTS_GATEWAY_PROFILE3_PORT": (configuration.gateway_bind, configuration.gateway_profile3_port),
            "BFCERTS_GATEWAY_DUAL_PORT": (configuration.gateway_bind, configuration.gateway_dual_port),
        }
        for name, (address, port) in ports.items():
            if not port:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError as error:
                    raise CommandError(
                        f"Port {port} cannot be used ({error.strerror}); set {name} to another."
                    ) from None

    def _run(self, configuration: Configuration, supervisor: Supervisor, fleet_size: int) -> None:
        from bfcerts import first_look

        user, password = first_look.ensure_operator(configuration.var_directory)
        processes = _processes(configuration)
        for name, (command, environment) in processes.items():
            supervisor.start(name, command, environment)
        self.stdout.write("Starting; the certificate authorities and the gateway's own certificates come first.")
        while not supervisor.stopping and not _gateway_ready():
            supervisor.watch(0.5)
        self.stdout.write(
            f"\n  Open     http://{configuration.web_bind}:{configuration.web_port}/\n"
            f"  Sign in  {user}  /  {password}\n"
            f"  Logs     {configuration.var_directory / 'logs'}\n"
            "  End      Ctrl-C\n"
        )
        fleet = first_look.demo_fleet(fleet_size) if fleet_size else []
        if fleet:
            path = first_look.prepare_fleet(configuration, fleet)
            supervisor.start("chargers", _simulator(path), _common_environment())
        while not supervisor.stopping:
            for sentence in first_look.onboard(fleet):
                self.stdout.write(f"  {sentence}")
            supervisor.watch(1.0)


def _gateway_ready() -> bool:
    from inventory.models import CertificateRecord
    from inventory.purposes import BACKEND_SERVER

    return CertificateRecord.objects.filter(purpose=BACKEND_SERVER.key, state="active").exists()


def _simulator(fleet_file: Path) -> list[str]:
    directory = fleet_file.parent
    return [sys.executable, "-m", "tests.simulator", "--fleet", str(fleet_file), "--directory", str(directory)]


def _common_environment() -> dict[str, str]:
    """The environment without any secret of ours: each process is given only its own."""
    secret = ("BFCERTS_SECRET_KEY", "BFCERTS_PKI_SECRET_KEY", "BFCERTS_LOCAL_CA_KEY", "BFCERTS_GATEWAY_KEY")
    hidden = {*secret, "BFCERTS_CREDENTIAL_KEY", "DATABASE_URL"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _processes(configuration: Configuration) -> dict[str, tuple[list[str], dict[str, str]]]:
    """The four processes of the process model, each with the secrets that it may have and no others."""
    from bfcerts.embedded_postgresql import database_url

    var = configuration.var_directory

    def secret(name: str, given: Any) -> str:
        return str(given.get_secret_value()) if given else stored_secret(var, name)

    common = {
        **_common_environment(),
        "DATABASE_URL": configuration.database_url or database_url(var),
        "BFCERTS_VAR_DIRECTORY": str(var),
    }
    signing = {"BFCERTS_SECRET_KEY": secret("secret_key", configuration.secret_key)}
    credential = {"BFCERTS_CREDENTIAL_KEY": secret("credential_key", configuration.credential_key)}
    gateway_key = {"BFCERTS_GATEWAY_KEY": secret("gateway_key", configuration.gateway_key)}
    authority = {
        "BFCERTS_PKI_SECRET_KEY": stored_secret(var, "pki_secret_key"),
        "BFCERTS_LOCAL_CA_KEY": stored_secret(var, "local_ca_key"),
        "BFCERTS_LOCAL_CA_ALLOWED": "true",
    }
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
