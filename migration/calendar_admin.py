"""When work may be done, in the console: hours of work by site, and days without any."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from inventory.admin.actions import actor_of
from inventory.admin.editing import REASON, EditableAdmin, ReasonedForm
from migration.models import Blackout, MigrationWindow
from migration.services import windows


class _CalendarAdmin(EditableAdmin):
    """What people enter of the times of a site."""

    keyset_field = ""

    def save_model(self, request: HttpRequest, obj: Any, form: ReasonedForm, change: bool) -> None:
        windows.save(entry=obj, actor=actor_of(request), reason=form.cleaned_data["reason"])


@admin.register(MigrationWindow)
class MigrationWindowAdmin(_CalendarAdmin):
    """Hours in which chargers of a site may be moved."""

    list_display = ("__str__", "weekdays", "enabled")
    list_filter = ("enabled",)
    search_fields = ("site",)
    search_help_text = "Site"
    ordering = ("site", "opens")
    fieldsets = (
        ("Where and when", {"fields": ("site", "weekdays", "opens", "closes", "time_zone", "enabled")}),
        REASON,
    )


@admin.register(Blackout)
class BlackoutAdmin(_CalendarAdmin):
    """Days on which nothing is moved."""

    list_display = ("__str__", "note", "enabled")
    list_filter = ("enabled",)
    search_fields = ("site", "note")
    search_help_text = "Site or note"
    ordering = ("-first_day",)
    fieldsets = (
        ("Where and when", {"fields": ("site", "first_day", "last_day", "time_zone", "note", "enabled")}),
        REASON,
    )
