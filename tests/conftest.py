"""What every test may use: a fresh inventory on the real database, a local CA of the run, and a clock to move."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_django import Settings

from bfcerts.configuration import Configuration
from bfcerts.setting_kinds import Process
from tests.support import Clock, ControlPlane


class _Defects(logging.Handler):
    """What duties set aside because nobody expected it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@pytest.fixture(autouse=True)
def no_defect_is_set_aside(request: pytest.FixtureRequest) -> Iterator[None]:
    """A duty sets a defect aside so that nothing else waits for it; a test must not overlook one because of that.

    One that makes a defect on purpose is marked `sets_defects_aside`.
    """
    defects, logger = _Defects(), logging.getLogger("inventory.jobs.setbacks")
    logger.addHandler(defects)
    yield
    logger.removeHandler(defects)
    if request.node.get_closest_marker("sets_defects_aside") is None:
        assert not defects.messages


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until a test moves it."""
    return Clock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture(scope="session")
def authority_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this run's local CA lives."""
    return tmp_path_factory.mktemp("ca")


@pytest.fixture
def control_plane(
    transactional_db: None, settings: Settings, authority_directory: Path, clock: Clock
) -> Iterator[ControlPlane]:
    """The services and workers of the control plane in this process, with the local CA as the PKI worker has it."""
    yield from _control_plane(settings, pki_configuration(authority_directory), clock)


@pytest.fixture
def plane(db: None, settings: Settings, authority_directory: Path, clock: Clock) -> Iterator[ControlPlane]:
    """As `control_plane`, in one transaction that is rolled back: quick, and for tests with one connection only."""
    yield from _control_plane(settings, pki_configuration(authority_directory), clock)


def _control_plane(settings: Settings, configuration: Configuration, clock: Clock) -> Iterator[ControlPlane]:
    from inventory.services import issuance

    settings.CONFIGURATION = configuration
    issuance.authorities.cache_clear()
    plane = ControlPlane(clock)
    plane.start()
    yield plane
    issuance.authorities.cache_clear()


def pki_configuration(directory: Path) -> Configuration:
    """The configuration of a PKI process of this run."""
    return Configuration.model_validate(
        {
            "process": Process.PKI,
            "pki_secret_key": "test-pki-signing-key-0123456789abcdef0123456789",
            "local_ca_key": "test-local-ca-key-0123456789abcdef",
            "local_ca_allowed": True,
            "local_ca_directory": directory,
            "credential_key": "test-credential-key-0123456789abcdef0123456",
        }
    )
