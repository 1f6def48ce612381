"""Work that was set aside: what of the recurring duties fails again and again, with why and until when it waits."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import NOTHING, Badge, moment
from inventory.admin import states
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.search import identities_matching
from inventory.admin.verbs import Order, Verb, Verbs
from inventory.models import Setback
from inventory.services import setback_actions
from inventory.services.actions import AvailableAction


def _try_now(order: Order) -> str:
    setback_actions.try_now(setback=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{setback_actions.name_of(order.target)} is tried again as soon as a worker comes to it."


setback_verbs = Verbs()
setback_verbs.register(Verb("try_now", "replay", _try_now))


@admin.register(Setback)
class SetbackAdmin(PageWithActions, ReadOnlyAdmin):
    """Pieces of work that nothing else waits for: each is tried again by itself, or when somebody says so."""

    verbs = setback_verbs
    version_fields = ("until",)
    change_form_template = "admin/console/read_only_with_actions.html"

    list_display = ("what", "whose", "badge", "told", "tries", "began", "again")
    list_filter = (("identity", AutocompleteSelectFilter),)
    list_select_related = ("identity",)
    search_fields = ("work",)
    search_help_text = "Identifier"
    fields = ("what", "whose", "badge", "told", "tries", "began", "again")
    readonly_fields = ("what", "whose", "badge", "told", "began", "again")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Setback], search_term: str
    ) -> tuple[QuerySet[Setback], bool]:
        term = search_term.strip()
        return (queryset.filter(identity_id__in=identities_matching(term)) if term else queryset), False

    def crumb_title(self, target: Setback) -> str:
        return setback_actions.name_of(target)

    def available_actions(self, request: HttpRequest, target: Setback) -> list[AvailableAction]:
        return setback_actions.for_setback(target, actor_of(request), timezone.now())

    def described(self, target: Setback) -> list[tuple[str, str]]:
        whose = target.identity.authoritative_identifier if target.identity else NOTHING
        return [("Work", setback_actions.name_of(target)), ("Identity", whose), ("What was wrong last", target.error)]

    @admin.display(description="Work")
    def what(self, setback: Setback) -> str:
        return setback_actions.name_of(setback)

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
