"""Editing by form: always with a reason, attributed, and never over somebody else's change."""

from typing import Any, ClassVar

from django import forms
from django.contrib.postgres.fields import ArrayField
from django.db import IntegrityError, models
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from bfcerts.console.modeladmin import ConsoleAdmin
from inventory.admin.actions import actor_of
from inventory.admin.durations import DurationField
from inventory.admin.history import HistoryMixin
from inventory.admin.stale import Meanwhile, meanwhile
from inventory.errors import InventoryError
from inventory.services import catalogue, versions

SAME_MOMENT = "Somebody else has saved the same at this moment. Look at the list, then try again."
REASON = ("Why", {"fields": ("reason",)})


class ReasonedForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's is generic for mypy only
    """A model form that asks why, and that notices when the object has changed since it was opened."""

    refusal: ClassVar[str] = ""
    """What a service said when the form was stored; shown beside what was typed."""

    reason = forms.CharField(
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        error_messages={"required": "Say why this is changed."},
        help_text="Why this is changed. It stays in the audit history, with your name.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.version = versions.version_of(self.instance) if self.instance.pk else ""
        self.meanwhile: Meanwhile | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.refusal:
            raise forms.ValidationError(self.refusal)
        if self.version and self.data.get("version") != self.version:
            self.meanwhile = meanwhile(self.instance)
            # The form keeps the version that it was opened on: sent once more, it is refused once more.
            self.version = str(self.data.get("version", "")) or "none"
            raise forms.ValidationError(self._what_happened())
        return cleaned

    def _what_happened(self) -> str:
        changed = self.meanwhile
        if changed is None:
            return "Nothing was saved: somebody else has changed this since you opened it."
        return (
            f"Nothing was saved: {changed.who} has changed this since you opened it, at {changed.at:%Y-%m-%d %H:%M:%S} "
            "UTC."
        )


class EditableAdmin(HistoryMixin, ConsoleAdmin):
    """A list whose entries people edit."""

    form = ReasonedForm
    change_form_template = "admin/console/change_form.html"
    formfield_overrides = {
        models.DurationField: {"form_class": DurationField},
        models.TextField: {"widget": UnfoldAdminTextareaWidget(attrs={"rows": 3})},
        models.JSONField: {"widget": UnfoldAdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"})},
        ArrayField: {"widget": UnfoldAdminTextInputWidget},
    }

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except (InventoryError, IntegrityError) as error:
            # The transaction is rolled back; show the form again with the sentence and what was typed.
            request.refusal = str(error) if isinstance(error, InventoryError) else SAME_MOMENT  # type: ignore[attr-defined]
            response = super().changeform_view(request, object_id, form_url, extra_context)
        return response

    def get_form(
        self, request: HttpRequest, obj: models.Model | None = None, change: bool = False, **kwargs: Any
    ) -> type[ReasonedForm]:
        form: type[ReasonedForm] = super().get_form(request, obj, change, **kwargs)
        refusal = getattr(request, "refusal", "")
        return type(form.__name__, (form,), {"refusal": refusal}) if refusal else form

    def save_model(self, request: HttpRequest, obj: Any, form: ReasonedForm, change: bool) -> None:
        catalogue.save(entry=obj, actor=actor_of(request), reason=form.cleaned_data["reason"])
