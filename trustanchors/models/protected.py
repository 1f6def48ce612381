"""A model whose state moves by transitions only."""

from collections.abc import Iterable
from typing import Any

from django.db import models


class ProtectedState(models.Model):
    """Base of what has a protected `state`: it can be read again, and stays protected if reading fails."""

    class Meta:
        abstract = True

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        if fields is None:
            deferred = self.get_deferred_fields()
            fields = [field.attname for field in self._meta.concrete_fields if field.attname not in deferred]
        names = list(fields)
        state = self.__dict__.pop("state", None) if "state" in names else None
        try:
            super().refresh_from_db(using=using, fields=names, from_queryset=from_queryset)
        finally:
            if state is not None:
                self.__dict__.setdefault("state", state)
