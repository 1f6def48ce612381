"""The administrator, and the console as she sees it."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.admin import given
from tests.support import restore_default_policies


@pytest.fixture
def maria(db: None) -> User:
    """An administrator."""
    restore_default_policies()
    return given.administrator()


@pytest.fixture
def console(maria: User) -> Client:
    """The console as the administrator sees it."""
    client = Client()
    client.force_login(maria)
    return client
