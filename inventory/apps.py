"""The inventory app: connects the audit trail and lends the wire its doors at start-up."""

from django.apps import AppConfig


class InventoryConfig(AppConfig):
    name = "inventory"
    verbose_name = "Certificate inventory"

    def ready(self) -> None:
        from inventory import audit

        audit.connect()
