"""The lock-out forecast in the console: a change is named, and who could not reconnect after it is listed."""

from http import HTTPStatus
from typing import Any, Final

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from bfcerts.console import navigation
from bfcerts.console.modeladmin import ConsoleAdmin
from bfcerts.console.navigation import Crumb
from inventory.admin.actions import actor_of
from inventory.errors import InvalidInputError, InventoryError
from inventory.models import Cohort
from migration.models import MigrationCase
from migration.services import forecast
from trustanchors.models import TrustAnchorBundle
from trustanchors.services import server_certificates

SHOWN: Final = 500
LONGEST: Final = 262_144


class ForecastForm(forms.Form):
    """One of three changes."""

    chain = forms.CharField(
        required=False,
        max_length=LONGEST,
        label="A chain that our listeners would present",
        widget=forms.Textarea(attrs={"rows": 6, "class": "c-mono"}),
        help_text="PEM, the leaf first; its root may be left out where it is among the anchors.",
    )
    bundle = forms.ModelChoiceField(
        TrustAnchorBundle.objects.exclude(state="withdrawn").order_by("purpose", "-version"),
        required=False,
        label="A bundle whose anchors would be deleted in an emergency, needed or not",
    )
    cohort = forms.ModelChoiceField(
        Cohort.objects.order_by("name"), required=False, label="A cohort that would be cut over to Profile 3"
    )

    def change(self) -> forecast.Change:
        """The change that was named.

        :raises InvalidInputError: when it was none or more than one, or makes no sense.
        """
        chain, bundle, cohort = (self.cleaned_data[name] for name in ("chain", "bundle", "cohort"))
        if sum(map(bool, (chain, bundle, cohort))) != 1:
            raise InvalidInputError("Name exactly one change: a chain, a bundle or a cohort.")
        if chain:
            return server_certificates.change_to(chain)
        if bundle:
            return forecast.AnchorWithdrawal(bundle)
        return forecast.CutOver(list(cohort.identities()), certificates_to_come=True)


class ForecastMixin(ConsoleAdmin):
    """Gives the list of migration cases a page with the forecast."""

    list_before_template = "admin/migration/migrationcase/forecast_link.html"

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.forecast_view)
        return [path("forecast/", page, name="migration_migrationcase_forecast"), *super().get_urls()]

    def forecast_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for a change (GET); list who could not reconnect after it (POST). Nothing is changed."""
        if not self.has_view_permission(request) or not actor_of(request).may(forecast.VIEW):
            raise PermissionDenied
        if request.method != "POST":
            return self._forecast(request, ForecastForm())
        form = ForecastForm(request.POST)
        if not form.is_valid():
            return self._forecast(request, form, status=HTTPStatus.BAD_REQUEST)
        try:
            locked_out = forecast.predict(form.change(), timezone.now())
        except InventoryError as error:
            form.add_error(None, str(error))
            return self._forecast(request, form, status=HTTPStatus(error.status))
        return self._forecast(request, form, locked_out)

    def _forecast(
        self,
        request: HttpRequest,
        form: ForecastForm,
        locked_out: list[forecast.LockedOut] | None = None,
        status: int = HTTPStatus.OK,
    ) -> TemplateResponse:
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Lock-out forecast",
            "crumbs": navigation.crumbs(MigrationCase, Crumb("Forecast")),
            "form": form,
            "asked": locked_out is not None,
            "count": len(locked_out or ()),
            "locked_out": (locked_out or [])[:SHOWN],
            "page": reverse("admin:migration_migrationcase_changelist"),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/migration/migrationcase/forecast.html", context, status=status)
