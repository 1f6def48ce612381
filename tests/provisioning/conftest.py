"""Pools that are switched on, with everybody in them."""

import pytest
from pytest_django import Settings

from tests.provisioning.world import World


@pytest.fixture
def world(db: None, settings: Settings) -> World:
    """Everybody, in the test's transaction."""
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update={"pools_enabled": True})
    made = World()
    made.fill()
    return made


@pytest.fixture
def shared_world(transactional_db: None, settings: Settings) -> World:
    """Everybody, where other connections see them too."""
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update={"pools_enabled": True})
    made = World()
    made.fill()
    return made
