"""The OCPP floor as a Django app."""

from django.apps import AppConfig


class OcppConfig(AppConfig):
    name = "bfcerts.ocpp"
    label = "ocpp"
    verbose_name = "OCPP gateway"
