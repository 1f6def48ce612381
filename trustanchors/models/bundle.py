"""Bundles: numbered versions of the anchors of one purpose; a released one never changes."""

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from bfcerts.protected_state import ProtectedState
from inventory.audit import history
from inventory.purposes import PURPOSE_CHOICES
from trustanchors.choices import BundleState
from trustanchors.models.anchor import TrustAnchor

S = BundleState


class TrustAnchorBundle(ProtectedState):
    """One version of what endpoints are to trust for a purpose."""

    purpose = models.CharField(max_length=40, choices=PURPOSE_CHOICES)
    version = models.PositiveIntegerField()
    state = FSMField(choices=BundleState.choices, default=BundleState.DRAFT, protected=True, max_length=12)
    anchors = models.ManyToManyField(TrustAnchor, through="BundleAnchor", related_name="bundles")
    note = models.TextField(blank=True)
    digest = models.CharField(max_length=64, editable=False, help_text="SHA-256 over its anchors, in their order.")
    created_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    emergency = models.BooleanField(default=False, help_text="Withdrawn because it must not be trusted any more.")

    deletes_needed = models.BooleanField(
        default=False, help_text="Deleted from chargers also where their connection rests on it."
    )

    history = history()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["purpose", "version"], name="bundle_version_once"),
            models.CheckConstraint(condition=Q(version__gte=1), name="bundle_version_from_1"),
            models.CheckConstraint(
                condition=Q(state="draft") | Q(released_at__isnull=False) | Q(state="withdrawn"),
                name="released_bundle_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(state="withdrawn") | Q(withdrawn_at__isnull=False), name="withdrawn_bundle_has_time"
            ),
        ]
        permissions = [
            ("release_trustanchorbundle", "Can release a trust anchor bundle to a cohort"),
            ("withdraw_trustanchorbundle", "Can withdraw a trust anchor bundle"),
            ("emergencywithdraw_trustanchorbundle", "Can withdraw a trust anchor bundle in an emergency"),
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} anchors, version {self.version}"

    def ordered_anchors(self) -> list[TrustAnchor]:
        """Its anchors in the order of the bundle."""
        return list(self.anchors.order_by("bundle_places__position"))

    @transition(field=state, source=[S.DRAFT, S.SUPERSEDED], target=S.RELEASED)
    def release(self) -> None:
        """Given to a cohort, for the first time or once more."""

    @transition(field=state, source=S.RELEASED, target=S.SUPERSEDED)
    def supersede(self) -> None:
        """A newer version stands wherever this one did."""

    @transition(field=state, source=[S.DRAFT, S.RELEASED, S.SUPERSEDED], target=S.WITHDRAWN)
    def withdraw(self) -> None:
        """Not to be relied on any more."""


class BundleAnchor(models.Model):
    """The place of an anchor in a bundle."""

    bundle = models.ForeignKey(TrustAnchorBundle, on_delete=models.PROTECT, related_name="places")
    anchor = models.ForeignKey(TrustAnchor, on_delete=models.PROTECT, related_name="bundle_places")
    position = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bundle", "anchor"], name="anchor_once_in_bundle"),
            models.UniqueConstraint(fields=["bundle", "position"], name="bundle_position_once"),
        ]
        ordering = ["position"]

    def __str__(self) -> str:
        return f"{self.position}. {self.anchor}"
