"""The trust anchor app: hears of answers and connections, and holds the gate, from start-up on."""

from django.apps import AppConfig


class TrustAnchorsConfig(AppConfig):
    name = "trustanchors"
    verbose_name = "Trust anchors"

    def ready(self) -> None:
        from trustanchors.services import duties, evidence

        evidence.connect()
        self.duties = duties
