"""Pages of the collections."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from django.db import DataError
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

NOT_OURS = "This is no cursor of this collection. Begin without one, and follow the links “next” and “previous”."


class NewestFirst(CursorPagination):
    """Cursor pages: as quick at the millionth row as at the first, and steady while rows are added."""

    ordering: tuple[str, ...] = ("-id",)
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Sequence[Any], request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        """One page.

        :raises ValidationError: when the cursor is not one that was given out: its position is compared with a
            column, and what is no value of that column fails only there.
        """
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, DataError, ModelValidationError, NotFound) as error:
            if self.cursor_query_param not in request.query_params:
                raise
            raise ValidationError({self.cursor_query_param: [NOT_OURS]}) from error
