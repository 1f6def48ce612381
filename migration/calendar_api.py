"""When work may be done, over the API: hours of work by site, and days without any."""

from typing import Any

from rest_framework.routers import SimpleRouter

from inventory.api.filters import Narrowing
from inventory.api.serializers.fleet import CatalogueSerializer
from inventory.api.views.fleet import CatalogueDoor
from migration.models import Blackout, MigrationWindow
from migration.services import windows


class WindowSerializer(CatalogueSerializer):
    """Hours in which a site may be worked at."""

    class Meta:
        model = MigrationWindow
        fields = ["id", "site", "weekdays", "opens", "closes", "time_zone", "enabled", "reason"]


class BlackoutSerializer(CatalogueSerializer):
    """Days on which nothing is moved."""

    class Meta:
        model = Blackout
        fields = ["id", "site", "first_day", "last_day", "time_zone", "note", "enabled", "reason"]


class WindowFilter(Narrowing):
    """Hours of work."""

    class Meta:
        model = MigrationWindow
        fields = ["site", "enabled"]


class BlackoutFilter(Narrowing):
    """Days without work."""

    class Meta:
        model = Blackout
        fields = ["site", "enabled"]


class CalendarDoor(CatalogueDoor):
    """What people enter of the times of a site. Nothing is deleted: what no longer holds is switched off."""

    def save(self, entry: Any, reason: str) -> Any:
        return windows.save(entry=entry, actor=self.actor, reason=reason)


class WindowViewSet(CalendarDoor):
    """Hours of the day in which chargers of a site may be moved."""

    queryset = MigrationWindow.objects.all()
    serializer_class = WindowSerializer
    filterset_class = WindowFilter


class BlackoutViewSet(CalendarDoor):
    """Days on which nothing is moved."""

    queryset = Blackout.objects.all()
    serializer_class = BlackoutSerializer
    filterset_class = BlackoutFilter


router = SimpleRouter(trailing_slash=False)
router.register("migration-windows", WindowViewSet, basename="migration-windows")
router.register("migration-blackouts", BlackoutViewSet, basename="migration-blackouts")
urlpatterns = router.urls
