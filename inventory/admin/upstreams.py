"""The CSMSs behind the gateway."""

from django.contrib import admin

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.presentation import Badge
from inventory.admin.editing import REASON, EditableAdmin
from inventory.models import Upstream


@admin.register(Upstream)
class UpstreamAdmin(EditableAdmin):
    """Which chargers are relayed to which CSMS."""

    list_display = ("name", "url", "scope", "when_away", "in_force")
    list_filter = (("when_away", ChoiceFilter), "enabled")
    list_select_related = ("cohort", "identity")
    search_fields = ("name", "url")
    search_help_text = "Name or address"
    ordering = ("name",)
    keyset_field = ""
    autocomplete_fields = ("cohort", "identity")
    fieldsets = (
        ("Which CSMS", {"fields": ("name", "url", "credential", "ca_bundle")}),
        ("For which chargers", {"fields": ("cohort", "identity", "enabled", "when_away")}),
        ("Notes", {"fields": ("notes",)}),
        REASON,
    )

    @admin.display(description="For")
    def scope(self, upstream: Upstream) -> str:
        if upstream.identity is not None:
            return upstream.identity.authoritative_identifier
        return f"cohort {upstream.cohort}" if upstream.cohort else "every charger"

    @admin.display(description="In force")
    def in_force(self, upstream: Upstream) -> Badge:
        return Badge("Yes", "success") if upstream.enabled else Badge("No")
