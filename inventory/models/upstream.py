"""The operator's own CSMSs behind the gateway, and which chargers are relayed to which."""

import re
from typing import Final

from cryptography import x509
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from bfcerts.ocpp.registry import WhenAway
from bfcerts.ocpp.relay import addresses
from inventory.audit import history
from inventory.choices import SubjectKind
from inventory.models.cohort import Cohort
from inventory.models.identity import ManagedIdentity

_CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_AWAY: Final = (
    (WhenAway.STAY.value, "The charger stays connected"),
    (WhenAway.CLOSE.value, "The charger is let go, and connects again"),
)


class Upstream(models.Model):
    """Where chargers are relayed to: all of them, those of a cohort, or one; the narrowest that is enabled wins.

    Without an address it says that these chargers are not relayed. Nothing secret is stored: `credential` names an
    entry of the gateway's environment.
    """

    name = models.CharField(max_length=60, unique=True)
    url = models.CharField(
        "address",
        max_length=400,
        blank=True,
        help_text="wss://host/path; the station id is appended, or takes the place of {station_id}. "
        "Empty: these chargers are not relayed.",
    )
    cohort = models.ForeignKey(
        Cohort, null=True, blank=True, on_delete=models.PROTECT, help_text="Only its members; empty: every charger."
    )
    identity = models.ForeignKey(
        ManagedIdentity, null=True, blank=True, on_delete=models.PROTECT, help_text="Only this charger."
    )
    enabled = models.BooleanField(default=True)
    when_away = models.CharField(
        "when it is away",
        max_length=5,
        choices=_AWAY,
        default=WhenAway.STAY.value,
        help_text="What becomes of a charger while the CSMS cannot be reached.",
    )
    credential = models.CharField(
        max_length=60, blank=True, help_text="Name of an entry of BFCERTS_UPSTREAM_CREDENTIALS; empty for none."
    )
    ca_bundle = models.TextField(
        "CA bundle",
        blank=True,
        help_text="PEM certificates that the CSMS's own must chain to; empty: the roots of the gateway's system.",
    )
    notes = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = history()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["cohort", "identity"],
                condition=Q(enabled=True),
                nulls_distinct=False,
                name="one_upstream_per_scope",
                violation_error_message="Another enabled upstream has the same scope; disable it first.",
            ),
            models.CheckConstraint(
                condition=Q(cohort__isnull=True) | Q(identity__isnull=True),
                name="upstream_for_a_cohort_or_one",
                violation_error_message="Choose a cohort or one charger, not both.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what the gateway would not dial, and what it could not use.

        :raises ValidationError: naming the field and what to do.
        """
        super().clean()
        if self.url:
            try:
                addresses.check(self.url, addresses.origins_of(settings.CONFIGURATION.upstream_allowed))
            except addresses.AddressError as error:
                raise ValidationError({"url": f"{str(error)[0].upper()}{str(error)[1:]}."}) from None
        if self.credential and not _CREDENTIAL_NAME.fullmatch(self.credential):
            raise ValidationError(
                {"credential": "This is the name of a credential (letters, digits, dot, dash); never the secret."}
            )
        if self.identity is not None and self.identity.kind != SubjectKind.CHARGER:
            raise ValidationError({"identity": "Only chargers are relayed."})
        if self.ca_bundle:
            try:
                x509.load_pem_x509_certificates(self.ca_bundle.encode())
            except ValueError:
                raise ValidationError({"ca_bundle": "This is not a list of PEM certificates."}) from None
