"""`manage.py gateway`: run one OCPP gateway node until SIGTERM or SIGINT."""

import asyncio
import signal
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from bfcerts.configuration import Configuration, ConfigurationError
from bfcerts.ocpp.gateway.listeners import ListenerError
from bfcerts.ocpp.gateway.node import NodeReplacedError
from bfcerts.ocpp.gateway.server import Gateway
from bfcerts.ocpp.registry import NotRegisteredError


class Command(BaseCommand):
    help = "Run an OCPP gateway node: the TLS listeners that charging stations connect to."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            uvloop.run(_serve(settings.CONFIGURATION))
        except (ConfigurationError, ListenerError, NodeReplacedError, NotRegisteredError) as error:
            raise CommandError(str(error)) from None


async def _serve(configuration: Configuration) -> None:
    gateway = Gateway(configuration)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, gateway.stop)
    await gateway.run()
