"""The provisioning app: says who owns what, and listens to what becomes of the certificates of its cases and pools."""

from django.apps import AppConfig


class ProvisioningConfig(AppConfig):
    name = "provisioning"
    verbose_name = "Provisioning"

    def ready(self) -> None:
        from inventory.ownership import lend_decisions
        from inventory.services.actions import add_identity_actions
        from provisioning.pools import cleansing, contracts, pushes
        from provisioning.services import arrivals, duties, offered, ownership

        lend_decisions(ownership.decision)
        add_identity_actions(offered.for_identity)
        arrivals.connect()
        cleansing.connect()
        contracts.connect()
        self.duties = (duties, cleansing, pushes)
