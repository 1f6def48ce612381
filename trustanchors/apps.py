"""The trust anchor app: hears of answers and connections, and holds the gate, from start-up on."""

from django.apps import AppConfig


class TrustAnchorsConfig(AppConfig):
    name = "trustanchors"
    verbose_name = "Trust anchors"

    def ready(self) -> None:
        from inventory.services import absences, plans
        from trustanchors.services import beginning, duties, evidence, keeping, membership
        from trustanchors.services.plan_kind import BundleRelease

        absences.name_work("anchors", "the trial of its trust anchors")
        evidence.connect()
        plans.register(BundleRelease())
        self.duties = (beginning, duties, keeping, membership)
