"""Security logs of stations, and what the artifact store keeps."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import NOTHING, Badge, link, moment
from inventory.admin import states
from inventory.admin.actions import actor_of
from inventory.admin.panels import Panel, register_identity_panel
from inventory.choices import LOG_COLOURS, StationLogState, SubjectKind
from inventory.downloads import downloaded
from inventory.errors import InventoryError
from inventory.models import Artifact, ManagedIdentity, StationLog
from inventory.services import artifacts
from inventory.words import actor_words

LOGS_ON_PAGE = 3


def download_link(artifact: Artifact) -> SafeString:
    """What one click downloads."""
    return link(reverse("admin:inventory_artifact_content", args=[artifact.pk]), "Download")


def log_badge(log: StationLog) -> Badge:
    return Badge(StationLogState(log.state).label, LOG_COLOURS[log.state])


@admin.register(StationLog)
class StationLogAdmin(ReadOnlyAdmin):
    """Logs that stations were asked for."""

    list_display = ("asked", "whose", "state_badge", "detail", "file", "who")
    list_filter = (("state", ChoiceFilter), ("identity", AutocompleteSelectFilter))
    list_select_related = ("identity", "artifact")
    fields = (
        "whose",
        "state_badge",
        "station_status",
        "detail",
        "file",
        "asked",
        "until",
        "finished",
        "who",
        "reason",
        "request_id",
        "correlation_id",
    )
    readonly_fields = ("whose", "state_badge", "file", "asked", "until", "finished", "who")

    @admin.display(description="Asked for")
    def asked(self, log: StationLog) -> SafeString | str:
        return moment(log.created_at)

    @admin.display(description="Upload possible until")
    def until(self, log: StationLog) -> SafeString | str:
        return moment(log.upload_until)

    @admin.display(description="Ended")
    def finished(self, log: StationLog) -> SafeString | str:
        return moment(log.finished_at)

    @admin.display(description="Charger")
    def whose(self, log: StationLog) -> SafeString | str:
        return states.identity_cell(log.identity)

    @admin.display(description="State")
    def state_badge(self, log: StationLog) -> Badge:
        return log_badge(log)

    @admin.display(description="File")
    def file(self, log: StationLog) -> SafeString | str:
        if log.artifact is None:
            return NOTHING
        about = link(
            reverse("admin:inventory_artifact_change", args=[log.artifact.pk]), filesizeformat(log.artifact.size)
        )
        return format_html("{} · {}", download_link(log.artifact), about) if log.artifact.deleted_at is None else about

    @admin.display(description="Who")
    def who(self, log: StationLog) -> str:
        return actor_words(log.actor)


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    """What the artifact store keeps, with its digest."""

    list_display = ("kept", "kind", "whose", "named", "bytes", "until")
    list_filter = (("kind", ChoiceFilter), ("identity", AutocompleteSelectFilter))
    list_select_related = ("identity",)
    fields = ("kind", "named", "whose", "bytes", "sha256", "kept", "until", "deleted", "download")
    readonly_fields = ("named", "whose", "bytes", "kept", "until", "deleted", "download")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.content)
        return [path("<path:object_id>/content/", view, name="inventory_artifact_content"), *super().get_urls()]

    def content(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The bytes, for who may have them."""
        artifact: Any = self.get_object(request, unquote(object_id))
        if artifact is None:
            raise Http404
        try:
            return downloaded(artifact, artifacts.read(artifact=artifact, actor=actor_of(request)))
        except InventoryError as error:
            messages.error(request, str(error))
            return redirect("admin:inventory_artifact_change", artifact.pk)

    @admin.display(description="Kept since")
    def kept(self, artifact: Artifact) -> SafeString | str:
        return moment(artifact.created_at)

    @admin.display(description="Kept until")
    def until(self, artifact: Artifact) -> SafeString | str:
        return moment(artifact.retain_until) if artifact.retain_until else "for good"

    @admin.display(description="Deleted")
    def deleted(self, artifact: Artifact) -> SafeString | str:
        return moment(artifact.deleted_at)

    @admin.display(description="Of")
    def whose(self, artifact: Artifact) -> SafeString | str:
        return states.identity_cell(artifact.identity)

    @admin.display(description="Name")
    def named(self, artifact: Artifact) -> str:
        return artifact.name

    @admin.display(description="Size")
    def bytes(self, artifact: Artifact) -> str:
        return filesizeformat(artifact.size)

    @admin.display(description="Content")
    def download(self, artifact: Artifact) -> SafeString | str:
        return NOTHING if artifact.deleted_at is not None else download_link(artifact)


def logs_panel(identity: ManagedIdentity, request: HttpRequest, now: datetime) -> Panel | None:
    """The newest security logs of a charger, each to be downloaded by one click."""
    may = request.user.has_perm
    if identity.kind != SubjectKind.CHARGER or not may("inventory.view_stationlog"):
        return None
    logs = StationLog.objects.filter(identity=identity).select_related("artifact").order_by("-id")[:LOGS_ON_PAGE]
    context = {"logs": [(log, log_badge(log)) for log in logs], "may_download": may("inventory.view_artifact")}
    return Panel("Security logs", "admin/inventory/stationlog/panel.html", context) if context["logs"] else None


register_identity_panel(logs_panel)
