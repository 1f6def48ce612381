"""Trust anchors: the list, one page each, and the form that takes one in."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.presentation import Badge, copyable, document, moment, short, text
from inventory.admin.actions import actor_of
from inventory.admin.editing import REASON, ReasonedForm
from trustanchors.admin import cells
from trustanchors.admin.pages import WrittenOnce
from trustanchors.models import TrustAnchor
from trustanchors.services import anchors


class AnchorForm(ReasonedForm):
    """A CA certificate to be trusted for a purpose."""

    name = forms.CharField(max_length=120, required=False, help_text="Empty: its common name.")
    certificate_pem = forms.CharField(
        label="Certificate",
        max_length=65536,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "spellcheck": "false"}),
        help_text="One CA certificate, in PEM.",
    )


@admin.register(TrustAnchor)
class TrustAnchorAdmin(WrittenOnce):
    """CA certificates that endpoints are given to trust; what one says never changes."""

    form = AnchorForm
    list_display = ("name", "purpose", "kind", "ends", "short_fingerprint")
    list_filter = (("purpose", ChoiceFilter),)
    search_fields = ("name", "subject", "fingerprint")
    search_help_text = "Name, subject or fingerprint"
    unread_fields = ("certificate_pem",)
    readonly_fields = ("kind", "ends", "full_fingerprint", "hashes", "pem", "begins")
    add_fieldsets = (("What it is", {"fields": ("purpose", "name", "certificate_pem")}), REASON)
    fieldsets = (
        ("What it is", {"fields": ("name", "purpose", "kind", "subject", "issuer", "serial_number", "key_algorithm")}),
        ("Validity", {"fields": ("begins", "ends")}),
        ("How stations name it", {"fields": ("full_fingerprint", "hashes")}),
        ("Certificate", {"fields": ("pem",)}),
    )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        values = form.cleaned_data
        made = anchors.add(
            certificate_pem=values["certificate_pem"],
            purpose_key=values["purpose"],
            name=values["name"],
            actor=actor_of(request),
            reason=values["reason"],
        )
        obj.__dict__.update(made.__dict__)

    @admin.display(description="Kind")
    def kind(self, anchor: TrustAnchor) -> Badge:
        return Badge("Root", "success") if anchor.self_signed else Badge("Intermediate", "info")

    @admin.display(description="Ends")
    def ends(self, anchor: TrustAnchor) -> Badge | str:
        return cells.end_words(anchor.not_after, timezone.now())

    @admin.display(description="Begins")
    def begins(self, anchor: TrustAnchor) -> SafeString | str:
        return moment(anchor.not_before)

    @admin.display(description="Fingerprint")
    def short_fingerprint(self, anchor: TrustAnchor) -> SafeString | str:
        return copyable(anchor.fingerprint, shown=short(anchor.fingerprint), label="fingerprint")

    @admin.display(description="Fingerprint (SHA-256)")
    def full_fingerprint(self, anchor: TrustAnchor) -> SafeString | str:
        return copyable(anchor.fingerprint, label="fingerprint")

    @admin.display(description="CertificateHashData")
    def hashes(self, anchor: TrustAnchor) -> SafeString | str:
        return document(anchor.hash_data)

    @admin.display(description="PEM")
    def pem(self, anchor: TrustAnchor) -> SafeString | str:
        return text(anchor.certificate_pem)
