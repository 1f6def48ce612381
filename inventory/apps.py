"""The inventory app: connects the audit trail and lends the wire its doors at start-up."""

from django.apps import AppConfig


class InventoryConfig(AppConfig):
    name = "inventory"
    verbose_name = "Certificate inventory"

    def ready(self) -> None:
        from bfcerts.ocpp import registry
        from inventory import audit, handlers, seams
        from inventory.jobs import setbacks
        from inventory.services import (
            artifacts,
            caps,
            families,
            plans,
            repeats,
            retention,
            sign_ins,
            station_logs,
            sweeps,
            untold,
            upstreams,
        )
        from inventory.services.door import CertificateDoor
        from inventory.services.listeners import ListenerCertificates
        from inventory.services.plans import bulk, lapsing, planner, running

        audit.connect()
        handlers.connect()
        families.connect()
        caps.connect()
        sign_ins.connect()
        running.connect()
        plans.register(bulk.BulkRenewal())
        plans.register(bulk.BulkRevocation())
        registry.register_doors(certificate=CertificateDoor())
        registry.register_listeners(ListenerCertificates())
        upstreams.connect()
        seams.on_answer("log", station_logs.command_answered)
        self.duties = (sweeps, repeats, retention, caps, artifacts, station_logs, untold, setbacks, planner, lapsing)
