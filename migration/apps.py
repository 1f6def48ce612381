"""The migration app: lends the wire its door for Profile 2 at start-up."""

from django.apps import AppConfig


class MigrationConfig(AppConfig):
    name = "migration"
    verbose_name = "Migration to Profile 3"

    def ready(self) -> None:
        from bfcerts.ocpp import registry
        from migration.services.authorization_keys import PasswordDoor

        registry.register_doors(password=PasswordDoor())
