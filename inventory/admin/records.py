"""Certificates: the list, and the one page of each. Their state moves by actions only, never by a form."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import Badge, copyable, short
from inventory.admin import record_page, states
from inventory.admin.actions import actor_of
from inventory.admin.filters import ExpiryFilter
from inventory.admin.history import HistoryMixin
from inventory.admin.live_page import LivePage
from inventory.admin.search import records_matching
from inventory.admin.verbs import record_verbs
from inventory.models import CertificateRecord
from inventory.services import actions
from inventory.services.actions import AvailableAction


@admin.register(CertificateRecord)
class CertificateRecordAdmin(LivePage, HistoryMixin, ReadOnlyAdmin):
    """Every certificate that the inventory knows."""

    page_template = "admin/inventory/certificaterecord/page.html"
    verbs = record_verbs
    list_display = ("number", "whose", "purpose_and_slot", "badge", "validity", "serial", "short_fingerprint")
    list_filter = (
        ("state", ChoiceFilter),
        ("purpose", ChoiceFilter),
        ExpiryFilter,
        ("mode", ChoiceFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity",)
    search_fields = ("fingerprint",)
    search_help_text = "Identifier, fingerprint or serial number"
    unread_fields = ("certificate_pem", "chain_pem", "csr_pem")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CertificateRecord], search_term: str
    ) -> tuple[QuerySet[CertificateRecord], bool]:
        term = search_term.strip()
        return (records_matching(queryset, term) if term else queryset), False

    @admin.display(description="No.")
    def number(self, record: CertificateRecord) -> int:
        return record.pk

    @admin.display(description="Identity")
    def whose(self, record: CertificateRecord) -> SafeString | str:
        return states.identity_cell(record.identity)

    @admin.display(description="Purpose")
    def purpose_and_slot(self, record: CertificateRecord) -> str:
        return f"{record.get_purpose_display()}{f' ({record.slot})' if record.slot else ''}"

    @admin.display(description="State")
    def badge(self, record: CertificateRecord) -> Badge:
        return states.record_badge(record.state)

    @admin.display(description="Validity")
    def validity(self, record: CertificateRecord) -> SafeString | str:
        return states.validity(record, timezone.now())

    @admin.display(description="Serial number")
    def serial(self, record: CertificateRecord) -> SafeString | str:
        return copyable(record.serial_number, shown=short(record.serial_number), label="serial number")

    @admin.display(description="Fingerprint")
    def short_fingerprint(self, record: CertificateRecord) -> SafeString | str:
        return copyable(record.fingerprint, shown=short(record.fingerprint), label="fingerprint")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        downloads = [
            path(
                "<path:object_id>/certificate.pem",
                view(self.certificate_view),
                name="inventory_certificaterecord_certificate",
            ),
            path("<path:object_id>/chain.pem", view(self.chain_view), name="inventory_certificaterecord_chain"),
        ]
        return [*downloads, *super().get_urls()]

    def page_context(self, request: HttpRequest, target: CertificateRecord) -> dict[str, Any]:
        return record_page.context_of(target, request, timezone.now())

    def certificate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The certificate itself, in PEM."""
        record = self.shown(request, object_id)
        return _download(record, record.certificate_pem, "certificate")

    def chain_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The certificate with its chain up to the root, in PEM."""
        record = self.shown(request, object_id)
        return _download(record, record.certificate_pem.rstrip() + "\n" + record.chain_pem, "chain")

    def shown(self, request: HttpRequest, object_id: str) -> CertificateRecord:
        related = ("identity__family", "authority", "replaces", "activation_evidence")
        return self.viewable(request, CertificateRecord.objects.select_related(*related), object_id)

    def available_actions(self, request: HttpRequest, target: CertificateRecord) -> list[AvailableAction]:
        return actions.for_record(target, actor_of(request), timezone.now())

    def described(self, target: CertificateRecord) -> list[tuple[str, str]]:
        return record_page.described(target, timezone.now())


def _download(record: CertificateRecord, pem: str, kind: str) -> HttpResponse:
    if not record.certificate_pem:
        raise Http404
    response = HttpResponse(pem, content_type="application/x-pem-file")
    response.headers["Content-Disposition"] = f'attachment; filename="{kind}-{record.pk}.pem"'
    return response
