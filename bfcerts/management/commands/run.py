"""`manage.py run`: the whole control plane, and on request a small fleet of simulated chargers, on one machine."""

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, connections

from bfcerts import embedded_postgresql
from bfcerts.configuration import Configuration, ConfigurationError
from bfcerts.processes import common_environment, processes
from bfcerts.supervisor import Supervisor

READY_SECONDS = 90.0


class Guide(Protocol):
    """Does what an operator would do next, and tells of it."""

    def round(self) -> Iterator[str]: ...


class Command(BaseCommand):
    help = "Run web, gateway, worker and PKI worker together; for a first look or a small installation."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fleet", type=int, default=0, metavar="N", help="also run N simulated chargers")
        parser.add_argument(
            "--demo", type=int, default=0, metavar="N", help="also run N chargers of a mixed fleet, on Profile 2"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        configuration: Configuration = settings.CONFIGURATION
        self._check_settings(configuration, options["fleet"], options["demo"])
        self._check_ports(configuration)
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        supervisor = Supervisor(configuration.var_directory / "logs", sys.stdout)
        signal.signal(signal.SIGINT, supervisor.request_stop)
        signal.signal(signal.SIGTERM, supervisor.request_stop)
        try:
            self._run(configuration, supervisor, options["fleet"], options["demo"])
        finally:
            self.stdout.write("Stopping.")
            supervisor.stop()

    def _check_settings(self, configuration: Configuration, fleet_size: int, demo_size: int) -> None:
        try:
            configuration.credential_secret()
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        if fleet_size and configuration.profile2_url is None:
            raise CommandError(
                "The simulated chargers begin with a password, and no listener takes one: give "
                "BFCERTS_GATEWAY_PROFILE2_PORT or BFCERTS_GATEWAY_DUAL_PORT a port, or run without --fleet."
            )

        if fleet_size and demo_size:
            raise CommandError("Choose one: --fleet, or --demo.")
        if demo_size and configuration.dual_url is None:
            raise CommandError(
                "The chargers of the demonstration keep their address when they move: give BFCERTS_GATEWAY_DUAL_PORT a "
                "port."
            )

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

    def _run(self, configuration: Configuration, supervisor: Supervisor, fleet_size: int, demo_size: int) -> None:
        from bfcerts import demo, first_look
        from bfcerts.demo_preparation import Preparation

        user, password = first_look.ensure_operator(configuration.var_directory)
        database_url = configuration.database_url or embedded_postgresql.database_url(configuration.var_directory)
        for name, (command, environment) in processes(configuration, database_url).items():
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
            supervisor.start("chargers", _simulator(path), common_environment())
        guide: Guide = first_look.Onboarding(fleet)
        if demo_size:
            supervisor.start("chargers", _simulator(demo.prepare(configuration, demo_size)), common_environment())
            guide = Preparation(demo_size)
        while not supervisor.stopping:
            try:
                for sentence in guide.round():
                    self.stdout.write(f"  {sentence}")
            except (OperationalError, InterfaceError) as error:
                self.stdout.write(f"  The database is away ({str(error).splitlines()[0]}); trying again.")
                connections.close_all()
                if configuration.embedded_database:
                    embedded_postgresql.revive(configuration.var_directory)
            supervisor.watch(1.0)


def _gateway_ready() -> bool:
    from inventory.models import CertificateRecord
    from inventory.purposes import BACKEND_SERVER

    return CertificateRecord.objects.filter(purpose=BACKEND_SERVER.key, state="active").exists()


def _simulator(fleet_file: Path) -> list[str]:
    directory = fleet_file.parent
    return [sys.executable, "-m", "tests.simulator", "--fleet", str(fleet_file), "--directory", str(directory)]
