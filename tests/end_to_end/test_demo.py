"""The demonstration as `manage.py run --demo` gives it: made ready by itself, then a family that fails stops alone."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from bfcerts import demo
from bfcerts.demo_preparation import PARAMETERS, WAVES, Preparation
from bfcerts.ocpp.models import StationSession
from inventory.models import ChargerFamily
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import plans
from migration.models import Breaker, MigrationCase, MigrationRollout
from migration.services import rollouts
from migration.services.why import why
from migration.states import CaseState, ReasonCode, RolloutState, WaveState
from tests.end_to_end.plant import OPERATOR, Plant, eventually
from tests.simulator.timings import Timings

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = 20
BAD = "Pole-2"
CUT_OVER = demo.DEADLINES[CHARGER_IDENTITY.key]["cut_over_deadline"]


def test_the_bad_family_of_the_demonstration_is_stopped_alone_and_quarantined(plant: Plant) -> None:
    urls = {"var_directory": plant.folder, "gateway_host": "localhost", "gateway_dual_port": plant.ports["dual"]}
    fleet = demo.prepare(settings.CONFIGURATION.model_copy(update=urls), SIZE)
    guide, said = Preparation(SIZE), list[str]()

    with _chargers(fleet):
        eventually(lambda: _goes_on_until_ready(guide, said), 150, what=lambda: f"{said} {plant.situation()}")
        assert any("lacks capabilities, Harbour Systems HS-50 Compact: CS-0018" in line for line in said)
        rollout = _plan_as_the_guide_says()
        bad = MigrationCase.objects.filter(family=ChargerFamily.objects.get(model=BAD))
        others = MigrationCase.objects.filter(wave__rollout=rollout).exclude(family__model=BAD)
        _fall_back_and_let_their_time_pass(bad)

        eventually(lambda: Breaker.objects.exists() and _all_are(bad, CaseState.QUARANTINE))
        eventually(lambda: _all_are(others, CaseState.ACTIVE), what=lambda: str(others.values_list("state", "why")))
        eventually(lambda: MigrationRollout.objects.filter(pk=rollout.pk, state=RolloutState.COMPLETE).exists())

    breaker = Breaker.objects.get()
    assert (str(breaker.family), breaker.failures) == ("Northwind Energy Pole-2", bad.count())
    assert {case.reason_code for case in bad} == {ReasonCode.SILENT}
    answer = why(bad[0].identity, timezone.now())
    assert answer is not None
    assert "did not come back on Profile 3" in answer.sentence
    assert set(rollout.waves.values_list("state", flat=True)) == {WaveState.PASSED}
    excepted = rollouts.approve_exception(case=bad[0], actor=OPERATOR, reason="its vendor is gone")
    assert excepted.state == CaseState.EXCEPTED


@contextmanager
def _chargers(fleet: Path) -> Iterator[None]:
    """The simulated chargers in a process of their own, as the demonstration has them, only quicker."""
    described = json.loads(fleet.read_text(encoding="utf-8"))
    quick = Timings.quick(call_timeout=20.0)
    described["timings"] = {name: getattr(quick, name) for name in Timings.__dataclass_fields__}
    fleet.write_text(json.dumps(described), encoding="utf-8")
    command = [sys.executable, "-m", "tests.simulator", "--fleet", str(fleet), "--directory", str(fleet.parent)]
    with (fleet.parent / "chargers.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _goes_on_until_ready(guide: Preparation, said: list[str]) -> bool:
    said += guide.round()
    return any(line.startswith("Ready. Plan the migration") for line in said)


def _plan_as_the_guide_says() -> MigrationRollout:
    """Smaller only in that everybody is in the pilot."""
    parameters = {"cohorts": list(WAVES[:1]), **PARAMETERS}
    now, reason = timezone.now(), "To Profile 3"
    plan = plans.make(kind="migration", parameters=parameters, actor=OPERATOR, reason=reason, now=now)
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason=reason, now=now)
    return MigrationRollout.objects.get(plan=plan)


def _fall_back_and_let_their_time_pass(bad: QuerySet[MigrationCase]) -> None:
    """They lose the key to their certificate, come back on Profile 2, and have no longer than the policy gives them."""
    eventually(lambda: all(_fell_back(case) for case in bad.all()), what=lambda: str(bad.values_list("state", "why")))
    now = timezone.now()
    assert all(case.deadline is not None and case.deadline <= now + CUT_OVER for case in bad)
    bad.update(deadline=now)


def _fell_back(case: MigrationCase) -> bool:
    station, left_at = case.identity.authoritative_identifier, case.entered_state_at
    back = StationSession.objects.filter(station_id=station, closed_at=None, connected_at__gt=left_at)
    return case.state == CaseState.PENDING_ACTIVATION and back.filter(security_profile=2).exists()


def _all_are(cases: QuerySet[MigrationCase], state: CaseState) -> bool:
    return not cases.exclude(state=state).exists()
