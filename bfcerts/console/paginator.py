"""Paging that stays quick at a million rows: it counts up to a cap and goes on from there by key."""

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

CAP = 1000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # Django's is generic for mypy only
    """Counts at most `CAP` rows. Beyond them the list offers the next stretch by the key of its last row."""

    template_name = "console/pagination.html"

    @cached_property
    def _counted(self) -> int:
        if isinstance(self.object_list, QuerySet):
            return self.object_list.order_by().values("pk")[: CAP + 1].count()
        return len(self.object_list)

    @cached_property
    def count(self) -> int:
        return min(self._counted, CAP)

    @property
    def capped(self) -> bool:
        """Whether there are more rows than were counted."""
        return self._counted > CAP
