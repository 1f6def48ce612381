"""The migration app: lends the wire its door for Profile 2 at start-up, and listens to what chargers do with keys."""

from django.apps import AppConfig


class MigrationConfig(AppConfig):
    name = "migration"
    verbose_name = "Migration to Profile 3"

    def ready(self) -> None:
        from bfcerts.ocpp import registry
        from inventory.services.retention import keep_commands_of
        from migration.services import recovery, rotation, rotation_need
        from migration.services.authorization_keys import PasswordDoor

        registry.register_doors(password=PasswordDoor())
        rotation.connect()
        recovery.connect()
        keep_commands_of("key", rotation.open_references)
        self.duties = (rotation, rotation_need, recovery)
