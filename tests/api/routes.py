"""Every route of the API, found in the URL configuration, so that no test can overlook one."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Model
from django.urls import URLPattern

from inventory.api import urls as inventory_urls
from inventory.api.base import Door
from migration import api as migration_api
from provisioning import api as provisioning_api
from provisioning.pools import api as pool_api
from trustanchors.api import urls as trust_anchor_api


@dataclass(frozen=True)
class Route:
    """One method of one address."""

    method: str
    name: str
    detail: bool
    model: type[Model]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.name}"


def routes() -> Iterator[Route]:
    """The routes of every collection of objects."""
    patterns = (
        *inventory_urls.urlpatterns,
        *migration_api.urlpatterns,
        *provisioning_api.urlpatterns,
        *pool_api.urlpatterns,
        *trust_anchor_api.urlpatterns,
    )
    for pattern in patterns:
        assert isinstance(pattern, URLPattern)
        view = getattr(pattern.callback, "cls", None)
        if view is None or not issubclass(view, Door):
            continue
        for method in getattr(pattern.callback, "actions"):  # noqa: B009  # django-stubs knows only functions
            yield Route(method, str(pattern.name), "pk" in str(pattern.pattern), view.queryset.model)


ROUTES = sorted(routes(), key=str)
LISTS = [route for route in ROUTES if route.method == "get" and route.name.endswith("-list")]
VERBS = [route for route in ROUTES if route.method in ("post", "patch")]
