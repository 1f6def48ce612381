"""Ownership decisions in the console: the form, the matrix as a page to print, and its export."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from bfcerts.console import navigation
from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.navigation import Crumb
from bfcerts.console.presentation import NOTHING, Badge
from inventory.admin.actions import actor_of
from inventory.admin.editing import REASON, EditableAdmin, ReasonedForm
from inventory.choices import OperatingMode
from inventory.purposes import PURPOSE_CHOICES, purpose
from provisioning.models import OwnershipDecision
from provisioning.services import ownership


class DecisionForm(ReasonedForm):
    """A decision; only purposes in which others have a part have one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields.get("purpose")
        if field is not None and hasattr(field, "choices"):
            field.choices = [choice for choice in PURPOSE_CHOICES if purpose(choice[0]).ownership_to_decide]


@admin.register(OwnershipDecision)
class OwnershipDecisionAdmin(EditableAdmin):
    """Who does what for a purpose in a program."""

    form = DecisionForm
    keyset_field = ""
    change_list_template = "admin/provisioning/ownershipdecision/change_list.html"
    list_display = ("__str__", "badge", "mode_words", "revocation_authority", "support_owner")
    list_filter = (("purpose", ChoiceFilter),)
    search_fields = ("program",)
    search_help_text = "Program"
    ordering = ("purpose", "program")
    fieldsets = (
        ("What is decided", {"fields": ("purpose", "program")}),
        (
            "Who does what",
            {
                "fields": (
                    "standards_source",
                    "business_owner",
                    "issuer",
                    "private_key_owner",
                    "delivery_path",
                    "our_role",
                    "source_of_truth",
                    "revocation_authority",
                    "support_owner",
                    "variability",
                )
            },
        ),
        ("Where people are reached", {"fields": ("authority_contact", "support_contact", "note")}),
        REASON,
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("purpose", "program") if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: ReasonedForm, change: bool) -> None:
        ownership.save(entry=obj, actor=actor_of(request), reason=form.cleaned_data["reason"])

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("matrix/", wrap(self.matrix_view), name="provisioning_ownershipdecision_matrix"),
            path("export/", wrap(self.export_view), name="provisioning_ownershipdecision_export"),
            *super().get_urls(),
        ]

    def matrix_view(self, request: HttpRequest) -> TemplateResponse:
        """The whole matrix on one page, to print."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Ownership decisions",
            "crumbs": navigation.crumbs(OwnershipDecision, Crumb("To print")),
            "rows": ownership.matrix(),
            "now": timezone.now(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/provisioning/ownershipdecision/matrix.html", context)

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """The matrix for a spreadsheet."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return HttpResponse(
            ownership.as_csv(),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="ownership-decisions.csv"'},
        )

    @admin.display(description="State")
    def badge(self, decision: OwnershipDecision) -> Badge:
        if decision.complete:
            return Badge("Complete", "success")
        return Badge(f"Pilots only: {len(decision.missing)} open", "warning")

    @admin.display(description="Operating mode")
    def mode_words(self, decision: OwnershipDecision) -> str:
        return str(OperatingMode(decision.mode).label) if decision.mode else NOTHING
