"""Identities: the list, and the one page of each."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Case, Q, QuerySet, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from bfcerts.console import navigation
from bfcerts.console.filters import ChoiceFilter, WordsFilter
from bfcerts.console.modeladmin import Elsewhere
from bfcerts.console.navigation import Crumb
from bfcerts.console.presentation import NOTHING, Badge, unbroken
from bfcerts.ocpp.models import StationSession
from inventory.admin import identity_page, states
from inventory.admin.actions import actor_of
from inventory.admin.editing import REASON, EditableAdmin, ReasonedForm
from inventory.admin.filters import CohortFilter, ConnectedFilter, NeedFilter
from inventory.admin.live_page import LivePage
from inventory.admin.verbs import identity_verbs
from inventory.choices import RecordState, SubjectKind
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY, PURPOSE_CHOICES
from inventory.services import actions, identities, lockouts
from inventory.services.actions import AvailableAction

_FOREMOST = (
    RecordState.ACTIVE,
    RecordState.INSTALLED_PENDING_ACTIVATION,
    RecordState.ISSUED,
    RecordState.REQUESTED,
    RecordState.INACTIVE,
    RecordState.REVOKED,
    RecordState.RETIRED,
)


class IdentityForm(ReasonedForm):
    """What people may change of an identity."""

    class Meta:
        labels = {"parent": "Part of", "mode": "Operating mode"}
        help_texts = {"tags": "Separated by commas."}

    allowed_purposes = forms.MultipleChoiceField(
        choices=PURPOSE_CHOICES,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Nothing chosen: every purpose that its kind allows.",
    )


class IdentityChangeList(ChangeList):
    """Looks up the sessions and the certificates of the identities on the page in one query each."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[ManagedIdentity] = list(self.result_list)  # type: ignore[has-type]
        sessions = _open_sessions(rows) if "connected" in self.list_display else {}
        records = _foremost_records(rows) if "certificate" in self.list_display else {}
        shut_out = _locked_out(rows) if "certificate" in self.list_display else set()
        for row in rows:
            row.__dict__["session_now"] = sessions.get(row.authoritative_identifier)
            row.__dict__["record_now"] = records.get(row.pk)
            row.__dict__["locked_out_now"] = row.pk in shut_out
        self.result_list = rows


def _foremost_records(rows: Iterable[ManagedIdentity]) -> dict[int, CertificateRecord]:
    """The certificate that says how each identity stands: a charger's own before others, the living ones first."""
    own = Case(When(purpose=CHARGER_IDENTITY.key, then=0), default=1)
    state = Case(*(When(state=state, then=place) for place, state in enumerate(_FOREMOST)), default=len(_FOREMOST))
    found = (
        CertificateRecord.objects.filter(identity__in=[row.pk for row in rows])
        .exclude(state=RecordState.DELETED)
        .only("identity_id", "purpose", "slot", "state", "not_before", "not_after", "incident_at", "escalated_at")
        .order_by("identity_id", own, state, "-id")
        .distinct("identity_id")
    )
    return {record.identity_id: record for record in found}


def _locked_out(rows: Iterable[ManagedIdentity]) -> set[int]:
    of_page = ManagedIdentity.objects.filter(pk__in=[row.pk for row in rows])
    return set(lockouts.locked_out(of_page, timezone.now()).order_by().values_list("pk", flat=True))


def _open_sessions(rows: Iterable[ManagedIdentity]) -> dict[str, StationSession]:
    stations = [row.authoritative_identifier for row in rows if row.kind == SubjectKind.CHARGER]
    found = StationSession.objects.filter(station_id__in=stations, closed_at__isnull=True)
    return {session.station_id: session for session in found}


def _shut_out(row: ManagedIdentity) -> bool:
    return bool(getattr(row, "locked_out_now", False))


@admin.register(ManagedIdentity)
class ManagedIdentityAdmin(LivePage, EditableAdmin):
    """Every subject that can hold certificates."""

    page_template = "admin/inventory/managedidentity/page.html"
    form = IdentityForm
    verbs = identity_verbs
    list_display = ("identifier", "kind", "site", "certificate", "ends", "connected", "profile", "admitted")
    list_filter = (
        ("kind", ChoiceFilter),
        ConnectedFilter,
        NeedFilter,
        CohortFilter,
        ("family", RelatedDropdownFilter),
        ("site", WordsFilter),
        ("region", WordsFilter),
        ("owner", WordsFilter),
        "enabled",
    )
    search_fields = ("authoritative_identifier",)
    search_help_text = "Identifier, serial number or name"
    autocomplete_fields = ("family", "parent")
    list_select_related = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return IdentityChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ManagedIdentity], search_term: str
    ) -> tuple[QuerySet[ManagedIdentity], bool]:
        if term := search_term.strip():
            queryset = queryset.filter(
                Q(authoritative_identifier__icontains=term) | Q(serial_number__icontains=term) | Q(name__icontains=term)
            )
        return queryset, False

    def elsewhere(self, term: str) -> list[Elsewhere]:
        return [
            Elsewhere(f"Identities of the {name} “{term[:60]}”", urlencode({name: term}))
            for name in ("site", "region", "owner")
        ]

    def get_list_display(self, request: HttpRequest) -> list[str]:
        """Without what this person may not see elsewhere."""
        may = request.user.has_perm
        hidden = set() if may("inventory.view_certificaterecord") else {"certificate", "ends"}
        if not may("ocpp.view_stationsession"):
            hidden.add("connected")
        return [name for name in self.list_display if name not in hidden]

    @admin.display(description="Identifier")
    def identifier(self, identity: ManagedIdentity) -> SafeString | str:
        if not identity.name:
            return unbroken(identity.authoritative_identifier)
        name = unbroken(identity.authoritative_identifier)
        return format_html('{}<span class="c-under">{}</span>', name, identity.name)

    @admin.display(description="Certificate")
    def certificate(self, identity: ManagedIdentity) -> SafeString | str:
        record: CertificateRecord | None = getattr(identity, "record_now", None)
        if record is None:
            return Badge("None", "warning" if identity.enabled else "default").__html__()
        badge = states.record_badge(record.state)
        if record.purpose == CHARGER_IDENTITY.key:
            return badge.__html__()
        return format_html('{}<div class="c-subtle">{}</div>', badge, record.get_purpose_display())

    @admin.display(description="Validity")
    def ends(self, identity: ManagedIdentity) -> SafeString | str:
        record: CertificateRecord | None = getattr(identity, "record_now", None)
        if record is None or record.state in (RecordState.RETIRED, RecordState.REVOKED):
            return NOTHING
        return states.validity(record, timezone.now())

    @admin.display(description="Reached")
    def profile(self, identity: ManagedIdentity) -> Badge | str:
        return identity_page.profile_badge(identity, locked_out=_shut_out(identity)) or NOTHING

    @admin.display(description="Connected now")
    def connected(self, identity: ManagedIdentity) -> Badge | str:
        session: StationSession | None = getattr(identity, "session_now", None)
        if session is not None:
            return Badge(f"On Profile {session.security_profile}", "success")
        return Badge("Not connected") if identity.kind == SubjectKind.CHARGER else NOTHING

    @admin.display(description="Admission")
    def admitted(self, identity: ManagedIdentity) -> Badge:
        if _shut_out(identity):
            return states.LOCKED_OUT_BADGE
        return Badge("Let in", "default") if identity.enabled else Badge("Disabled", "danger")

    def get_urls(self) -> list[URLPattern]:
        edit = path(
            "<path:object_id>/edit/",
            self.admin_site.admin_view(self.edit_view),
            name="inventory_managedidentity_edit",
        )
        return [edit, *super().get_urls()]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> tuple[str, ...]:
        return () if obj is None else ("kind", "authoritative_identifier")

    def get_fieldsets(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        return [
            (
                "Who it is",
                {"fields": ("kind", "authoritative_identifier", "serial_number", "name", "parent")},
            ),
            ("Where it belongs", {"fields": ("owner", "site", "region", "tags", "program")}),
            ("What it is", {"fields": ("family", "firmware_version")}),
            ("What it may hold", {"fields": ("mode", "allowed_purposes", "pilot")}),
            REASON,
        ]

    def save_model(self, request: HttpRequest, obj: Any, form: ReasonedForm, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in identities.EDITABLE_FIELDS if name in form.cleaned_data}
        reason = form.cleaned_data["reason"]
        if change:
            changes = {name: value for name, value in values.items() if name in form.changed_data}
            identities.update(identity=obj, changes=changes, actor=actor_of(request), reason=reason)
            return
        made = identities.create(
            kind=obj.kind,
            authoritative_identifier=obj.authoritative_identifier,
            actor=actor_of(request),
            reason=reason,
            **values,
        )
        obj.pk = made.pk
        obj._state.adding = False

    def response_post_save_change(self, request: HttpRequest, obj: ManagedIdentity) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:inventory_managedidentity_change", args=[obj.pk]))

    def response_post_save_add(self, request: HttpRequest, obj: ManagedIdentity) -> HttpResponseRedirect:
        if hint := identities.alike(obj):
            messages.warning(request, hint)
        return HttpResponseRedirect(reverse("admin:inventory_managedidentity_change", args=[obj.pk]))

    def page_context(self, request: HttpRequest, target: ManagedIdentity) -> dict[str, Any]:
        return {
            "may_edit": self.has_change_permission(request, target),
            **identity_page.context_of(target, request, timezone.now()),
        }

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of an identity."""
        identity = self.shown(request, object_id)
        page = reverse("admin:inventory_managedidentity_change", args=[identity.pk])
        crumbs = navigation.crumbs(ManagedIdentity, Crumb(self.crumb_title(identity), page), Crumb("Edit"))
        return self.changeform_view(request, object_id, "", {"crumbs": crumbs})

    def shown(self, request: HttpRequest, object_id: str) -> ManagedIdentity:
        return self.viewable(request, ManagedIdentity.objects.select_related("family", "parent"), object_id)

    def available_actions(self, request: HttpRequest, target: ManagedIdentity) -> list[AvailableAction]:
        return actions.for_identity(target, actor_of(request), timezone.now())

    def described(self, target: ManagedIdentity) -> list[tuple[str, str]]:
        return identity_page.described(target, timezone.now())

    def crumb_title(self, target: ManagedIdentity) -> str:
        return target.authoritative_identifier
