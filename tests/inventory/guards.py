"""What tests of the database's guards share."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import IntegrityError, transaction


@contextmanager
def refused(because: str) -> Iterator[None]:
    with pytest.raises(IntegrityError, match=because), transaction.atomic():
        yield
