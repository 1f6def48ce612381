"""The migration app: lends the wire its door for Profile 2 at start-up, and listens to what chargers do with keys."""

from django.apps import AppConfig


class MigrationConfig(AppConfig):
    name = "migration"
    verbose_name = "Migration to Profile 3"

    def ready(self) -> None:
        from bfcerts.ocpp import registry
        from inventory import seams
        from inventory.services import absences, plans
        from inventory.services.actions import add_identity_actions
        from inventory.services.capabilities import add_family_actions
        from inventory.services.retention import keep_commands_of
        from migration.services import (
            arrivals,
            bulk_rotation,
            cases,
            driving,
            filling,
            forecast,
            key_actions,
            key_delivery,
            key_duties,
            key_evidence,
            recovery,
            renewal_door,
            rotation_need,
        )
        from migration.services.authorization_keys import PasswordDoor
        from migration.services.rollout_plan import MigrationPlan

        registry.register_doors(password=PasswordDoor())
        key_evidence.connect()
        recovery.connect()
        renewal_door.connect()
        add_identity_actions(key_actions.for_identity)
        add_family_actions(key_actions.for_family)
        keep_commands_of("key", key_delivery.open_references)
        keep_commands_of("migration", cases.open_references)
        absences.name_work("key", "its new AuthorizationKey")
        absences.name_work("migration", "its move between Profiles 2 and 3")
        arrivals.connect()
        seams.lend_forecast(forecast.OfOneCharger())
        plans.register(MigrationPlan())
        plans.register(bulk_rotation.BulkRotation())
        self.duties = (bulk_rotation, key_duties, rotation_need, recovery, filling, driving)
