"""What tests of the inventory are given."""

from pathlib import Path

import pytest
from pytest_django import Settings

from tests.support import ControlPlane


@pytest.fixture
def logs_in_a_folder(plane: ControlPlane, settings: Settings, tmp_path: Path) -> None:
    """What stations upload goes to a folder of this test, and is not much."""
    given = {"artifact_directory": tmp_path / "artifacts", "upload_largest_mib": 1}
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update=given)
