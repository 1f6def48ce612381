"""The trust anchor app."""

from django.apps import AppConfig


class TrustAnchorsConfig(AppConfig):
    name = "trustanchors"
    verbose_name = "Trust anchors"
