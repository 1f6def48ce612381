"""A plant and its stations for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tests.end_to_end.plant import Plant, StationThread, database_url_of, prepare_folder


@pytest.fixture
def plant(transactional_db: None, tmp_path: Path) -> Iterator[Plant]:
    """The gateway, the worker and the PKI worker, running."""
    prepare_folder(tmp_path, settings.CONFIGURATION)
    plant = Plant(settings.CONFIGURATION, database_url_of(connection.settings_dict), tmp_path)
    try:
        plant.start("pki-worker", "worker", "gateway")
        plant.wait_until_ready()
        yield plant
    finally:
        plant.stop()


@pytest.fixture
def stations(plant: Plant) -> Iterator[StationThread]:
    """Simulated stations that know the plant's roots."""
    thread = StationThread(plant)
    try:
        yield thread
    finally:
        thread.stop()
