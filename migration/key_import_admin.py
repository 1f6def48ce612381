"""Taking over a fleet's AuthorizationKeys from a CSV file in the console: looked at first, and never echoed."""

from http import HTTPStatus
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from bfcerts.console import navigation
from bfcerts.console.modeladmin import ConsoleAdmin
from bfcerts.console.navigation import Crumb
from inventory.admin.actions import actor_of
from inventory.errors import InventoryError
from inventory.words import counted
from migration.models import AuthorizationKey
from migration.services import key_import

LARGEST: Final = 2**20
"""Bytes of a file that a web request takes; the command line takes larger ones."""
SHOWN: Final = 500


class ImportForm(forms.Form):
    """The file, and whether to do more than look at it."""

    file = forms.FileField(
        label="CSV file",
        help_text=(
            f"UTF-8, with the columns {', '.join(key_import.COLUMNS)}; the last two may be left out. At most "
            f"{LARGEST // 1024} KiB: import a larger one by manage.py import_authorization_keys."
        ),
    )
    apply = forms.BooleanField(
        label="Import it, if there is no problem in any line; otherwise it is only looked at", required=False
    )
    reason = forms.CharField(
        label="Reason",
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "required": True}),
        error_messages={"required": "Say why you do this."},
        help_text="Why you do this. It stays in the audit history, with your name.",
    )

    def clean_file(self) -> str:
        """The text of the file."""
        file: UploadedFile[Any] = self.cleaned_data["file"]
        if file.size is None or file.size > LARGEST:
            raise forms.ValidationError("The file is too large for this page; use the command line.")
        try:
            text: str = file.read().decode()
        except UnicodeDecodeError:
            raise forms.ValidationError("The file is not UTF-8; save it as UTF-8 and try again.") from None
        return text


class ImportMixin(ConsoleAdmin):
    """Gives the list of AuthorizationKeys a page that imports them."""

    list_before_template = "admin/migration/authorizationkey/import_link.html"

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.import_view)
        return [path("import/", page, name="migration_authorizationkey_import"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may_import = actor_of(request).may(key_import.PERMISSION)
        return super().changelist_view(request, {"may_import": may_import} | (extra_context or {}))

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for a file (GET); look at it, and import it (POST)."""
        if not self.has_view_permission(request) or not actor_of(request).may(key_import.PERMISSION):
            raise PermissionDenied
        if request.method != "POST":
            return self._show(request, ImportForm())
        form = ImportForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._show(request, form, status=HTTPStatus.BAD_REQUEST)
        try:
            outcome = self._take(request, form)
        except InventoryError as error:
            form.add_error("file", str(error))
            return self._show(request, form, status=HTTPStatus(error.status))
        if form.cleaned_data["apply"] and not outcome.problems:
            told = f"Imported {counted(outcome.new, 'key')}; {outcome.unchanged:,} were here already."
            messages.success(request, told)
            return HttpResponseRedirect(reverse("admin:migration_authorizationkey_changelist"))
        return self._show(request, form, outcome)

    def _take(self, request: HttpRequest, form: ImportForm) -> key_import.Outcome:
        actor, text = actor_of(request), form.cleaned_data["file"]
        if form.cleaned_data["apply"]:
            return key_import.run(text=text, actor=actor, reason=form.cleaned_data["reason"])
        return key_import.dry_run(text=text, actor=actor)

    def _show(
        self,
        request: HttpRequest,
        form: ImportForm,
        outcome: key_import.Outcome | None = None,
        status: int = HTTPStatus.OK,
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Import AuthorizationKeys",
            "crumbs": navigation.crumbs(AuthorizationKey, Crumb("Import")),
            "form": form,
            "outcome": outcome,
            "problems": outcome.problems[:SHOWN] if outcome else [],
            "page": reverse("admin:migration_authorizationkey_changelist"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/migration/authorizationkey/import.html", context, status=status)
