"""The project's own app: the command that runs every process on one machine."""

from django.apps import AppConfig


class BfcertsConfig(AppConfig):
    name = "bfcerts"
