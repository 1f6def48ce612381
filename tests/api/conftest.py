"""Who speaks to the API."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from tests.admin import given
from tests.support import restore_default_policies


@pytest.fixture
def maria(db: None) -> User:
    """An administrator."""
    restore_default_policies()
    return given.administrator()


@pytest.fixture
def api(maria: User) -> APIClient:
    """The API as the administrator's integration speaks to it, with a token."""
    return given.speaker(maria)
