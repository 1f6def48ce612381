"""Work that was set aside: what of the recurring duties fails again and again, with why and until when it waits."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import Badge, moment, spoken
from inventory.admin import states
from inventory.admin.search import identities_matching
from inventory.models import Setback


@admin.register(Setback)
class SetbackAdmin(ReadOnlyAdmin):
    """Pieces of work that nothing else waits for: each is tried again by itself."""

    list_display = ("what", "whose", "badge", "told", "tries", "began", "again")
    list_filter = (("identity", AutocompleteSelectFilter),)
    list_select_related = ("identity",)
    search_fields = ("work",)
    search_help_text = "Identifier"
    fields = ("what", "whose", "badge", "error", "tries", "began", "again")
    readonly_fields = ("what", "whose", "badge", "began", "again")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Setback], search_term: str
    ) -> tuple[QuerySet[Setback], bool]:
        term = search_term.strip()
        return (queryset.filter(identity_id__in=identities_matching(term)) if term else queryset), False

    @admin.display(description="Work")
    def what(self, setback: Setback) -> str:
        return f"{spoken(setback.work.replace('-', '_'))} {setback.key}"

    @admin.display(description="Identity")
    def whose(self, setback: Setback) -> SafeString | str:
        return states.identity_cell(setback.identity)

    @admin.display(description="State")
    def badge(self, setback: Setback) -> Badge:
        waits = setback.until > timezone.now()
        return Badge("Waits for its next try", "warning") if waits else Badge("Its next try is due", "info")

    @admin.display(description="What was wrong last")
    def told(self, setback: Setback) -> str:
        return setback.error

    @admin.display(description="Since")
    def began(self, setback: Setback) -> SafeString | str:
        return moment(setback.since)

    @admin.display(description="Tried again")
    def again(self, setback: Setback) -> SafeString | str:
        return moment(setback.until, timezone.now())
