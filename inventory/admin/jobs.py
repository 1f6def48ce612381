"""Jobs: the list, and the one page of each. Their state moves by workers and actions only."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import Badge, moment
from bfcerts.ocpp.models import OutboxCommand
from inventory.admin import states, timeline
from inventory.admin.actions import actor_of
from inventory.admin.filters import OpenJobFilter
from inventory.admin.history import HistoryMixin
from inventory.admin.live_page import LivePage
from inventory.admin.search import of_identities_matching
from inventory.admin.verbs import job_verbs
from inventory.models import CertificateJob, DomainEvent
from inventory.services.actions import AvailableAction
from inventory.services.changes import entries_of
from inventory.services.job_actions import for_job
from inventory.words import actor_words

EVENTS, COMMANDS, MOMENTS = 30, 20, 40


@admin.register(CertificateJob)
class CertificateJobAdmin(LivePage, HistoryMixin, ReadOnlyAdmin):
    """Every durable work item."""

    page_template = "admin/inventory/certificatejob/page.html"
    verbs = job_verbs
    version_fields = ("state", "step", "waiting_for")
    list_display = ("number", "what", "whose", "badge", "words", "started_by", "created")
    list_filter = (
        OpenJobFilter,
        ("state", ChoiceFilter),
        ("action", ChoiceFilter),
        ("purpose", ChoiceFilter),
        ("queue", ChoiceFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity",)
    search_fields = ("correlation_id",)
    search_help_text = "Identifier or correlation id"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CertificateJob], search_term: str
    ) -> tuple[QuerySet[CertificateJob], bool]:
        term = search_term.strip()
        return (of_identities_matching(queryset, term) if term else queryset), False

    @admin.display(description="No.")
    def number(self, job: CertificateJob) -> int:
        return job.pk

    @admin.display(description="What")
    def what(self, job: CertificateJob) -> str:
        return f"{job.get_action_display()}: {job.get_purpose_display()}{f' ({job.slot})' if job.slot else ''}"

    @admin.display(description="Identity")
    def whose(self, job: CertificateJob) -> SafeString | str:
        return states.identity_cell(job.identity)

    @admin.display(description="State")
    def badge(self, job: CertificateJob) -> Badge:
        return states.job_badge(job)

    @admin.display(description="Now")
    def words(self, job: CertificateJob) -> str:
        return states.waiting_words(job, timezone.now())

    @admin.display(description="Started by")
    def started_by(self, job: CertificateJob) -> str:
        return actor_words(job.actor)

    @admin.display(description="Opened")
    def created(self, job: CertificateJob) -> SafeString | str:
        return moment(job.created_at)

    def shown(self, request: HttpRequest, object_id: str) -> CertificateJob:
        return self.viewable(request, CertificateJob.objects.select_related("identity", "record"), object_id)

    def page_context(self, request: HttpRequest, target: CertificateJob) -> dict[str, Any]:
        now = timezone.now()
        return {
            "job": target,
            "now": now,
            "badge": states.job_badge(target),
            "words": states.waiting_words(target, now),
            "later": None if target.is_open else _later(target),
            "timeline": _timeline(target, request),
            "history": entries_of(target, 15),
        }

    def available_actions(self, request: HttpRequest, target: CertificateJob) -> list[AvailableAction]:
        return for_job(target, actor_of(request))

    def described(self, target: CertificateJob) -> list[tuple[str, str]]:
        return _described(target, timezone.now())


def _later(job: CertificateJob) -> CertificateJob | None:
    """The newest job of the same work, where it was started again."""
    same = CertificateJob.objects.filter(identity=job.identity_id, purpose=job.purpose, slot=job.slot, pk__gt=job.pk)
    return same.filter(action=job.action, target=job.target).order_by("-id").first()


def _described(job: CertificateJob, now: datetime) -> list[tuple[str, str]]:
    identity = job.identity
    return [
        ("Job", f"{job.pk}, {job.get_action_display()}: {job.get_purpose_display()}"),
        ("Identity", f"{identity.authoritative_identifier} ({identity.get_kind_display()})"),
        ("State", f"{job.get_state_display()}, {states.waiting_words(job, now)}"),
    ]


def _timeline(job: CertificateJob, request: HttpRequest) -> list[timeline.Moment]:
    """Its events, and the commands of its chain of work."""
    parts: list[list[timeline.Moment]] = []
    if request.user.has_perm("inventory.view_domainevent"):
        parts.append(timeline.of_events(DomainEvent.objects.filter(job=job).order_by("-id")[:EVENTS]))
    if request.user.has_perm("ocpp.view_outboxcommand"):
        station = job.identity.authoritative_identifier
        commands = OutboxCommand.objects.filter(station_id=station, correlation_id=job.correlation_id)
        parts.append(timeline.of_commands(commands.order_by("-id")[:COMMANDS]))
    return timeline.merged(*parts, limit=MOMENTS)
