"""Staged rollouts with nothing faked: a seeded mixed fleet, real TLS, real processes, and failures that are forced."""

import pytest

from inventory.choices import RecordState
from inventory.errors import TransitionRefusedError
from inventory.models import CertificateRecord
from inventory.services import lifecycle
from inventory.services.plans.errors import NothingToPlanError
from migration.models import Breaker, MigrationCase, MigrationRollout, Wave
from migration.services import breakers, lowering, rollouts
from migration.states import CaseState, ReasonCode, RolloutState, WaveState
from tests.end_to_end.mixed_fleet import FLEET, Charger, MixedFleet
from tests.end_to_end.plant import OPERATOR, Plant, StationThread
from tests.simulator.families import mixed_fleet
from trustanchors.models import BundleInstallation, BundleRollout

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 10
SIZE = 20
MOVING = ("AC22", "DC150", "Pole-2", "Wallbox", "HS-50")
INCAPABLE = ("Wallbox Mini", "HS-50 Compact")
FAMILY_LIMIT = 3
PACE = {
    "retry_budget": 0,
    "success_threshold_percent": 25,
    "failure_threshold_percent": 60,
    "minimum_sample": 2,
    "family_failure_limit": FAMILY_LIMIT,
    "per_family": 3,
    "advance_automatically": "no",
}


def test_a_mixed_fleet_moves_and_each_charger_is_active_or_says_why_not(plant: Plant, stations: StationThread) -> None:
    fleet = MixedFleet(plant, stations)
    fleet.commission(mixed_fleet(SIZE, SEED))
    fleet.prepare(threshold_percent=100)
    pilots = [fleet.of(model)[0] for model in ("AC22", "DC150", "Pole-2", "HS-50")]
    rest = [charger for charger in fleet.chargers.values() if charger not in pilots]
    fleet.cohort("Pilots", pilots)
    fleet.cohort("Rest", rest)
    refusing, silent = fleet.of("AC22")[1:3]
    missing, robbed, bad = fleet.of("DC150")[1], fleet.of("Pole-2")[1], fleet.of("Wallbox")
    fine = [one for one in rest if one.description.model in MOVING and one not in (refusing, silent, missing, robbed)]
    fine = [one for one in fine if one not in bad]
    rollout = fleet.roll_out("Pilots", "Rest", **PACE)
    first, second = rollout.waves.order_by("position")

    _wait_for(fleet, first, WaveState.PASSED)
    assert {charger.name: charger.profile for charger in pilots} == {charger.name: 3 for charger in pilots}
    _pause_and_go_on(rollout, fleet, rest)
    for charger in (refusing, *bad):
        charger.suffers(reject_install=True)
    silent.suffers(trigger_accepted_no_csr=True)
    missing.suffers(never_reconnect=True)
    robbed.suffers(never_reconnect=True)
    rollouts.start_next(rollout=rollout, actor=OPERATOR, reason="the pilots are fine")

    fleet.wait_until(lambda: all(charger.state == "active" for charger in fine))
    _let_it_stay_silent(fleet, silent)
    _let_it_never_return(fleet, missing)
    _revoke_while_it_is_away(fleet, stations, robbed)
    expected = (
        {charger.name: "active" for charger in (*pilots, *fine)}
        | {charger.name: "capabilities_missing" for charger in fleet.of(*INCAPABLE)}
        | {refusing.name: "issue_failed", silent.name: "silent", missing.name: "never_returned"}
        | {robbed.name: "certificate_lost"}
    )
    fleet.wait_until(lambda: _without(fleet.standing(), bad) == expected)
    _only_the_bad_family_is_stopped(fleet, bad)
    _wait_for(fleet, second, WaveState.PASSED)
    assert {charger.name for charger in fleet.chargers.values() if charger.profile is None} == {missing.name}

    rollouts.approve_exception(case=silent.case, actor=OPERATOR, reason="its vendor is gone")
    _mend(refusing, *bad)
    breakers.close(breaker=Breaker.objects.get(), actor=OPERATOR, reason="new firmware")
    for charger in (refusing, *(one for one in bad if one.state == CaseState.QUARANTINE)):
        rollouts.release(case=charger.case, actor=OPERATOR, reason="mended")
    expected |= {charger.name: "active" for charger in (refusing, *bad)} | {silent.name: "excepted"}
    fleet.wait_until(lambda: fleet.standing() == expected)

    rollouts.roll_back(wave=second, actor=OPERATOR, reason="the contract says so")
    able = [charger for charger in rest if charger.description.model == "HS-50"]
    fleet.wait_until(lambda: all(charger.profile == 2 and charger.state == "pending" for charger in able))
    expected |= {charger.name: "wave_ended" for charger in able}
    assert fleet.standing() == expected
    assert {case.identity_id for case in lowering.cannot_go_back(second)} == {
        charger.identity.pk for charger in (refusing, *bad, *fine) if charger not in able
    }
    assert {charger.profile for charger in (refusing, *bad, *fine, *pilots) if charger not in able} == {3}


def test_a_gate_stays_closed_while_too_many_reject_the_roots(plant: Plant, stations: StationThread) -> None:
    fleet = MixedFleet(plant, stations)
    fleet.commission([one for one in mixed_fleet(SIZE, SEED) if one.model in ("AC22", "Wallbox", "HS-50 Compact")])
    rejecting, forgetful = fleet.of("Wallbox"), fleet.of("HS-50 Compact")
    for charger in rejecting:
        charger.suffers(reject_root_install=True)
        _forget_the_identity_root(plant, charger)

    released = fleet.release_anchors(threshold_percent=75, cohort=FLEET, asked=False)
    ids = [rollout.pk for rollout in released]
    fleet.wait_until(lambda: len(_installed(released[0], fleet.of("AC22"))) >= 1)
    fleet.rotate_keys(fleet.of("AC22"))
    fleet.wait_until(lambda: all(len(_installed(one, fleet.of("AC22"))) == len(fleet.of("AC22")) for one in released))
    refused = BundleInstallation.objects.filter(rollout=released[0], identity__family=rejecting[0].identity.family)
    fleet.wait_until(lambda: refused.filter(canary=True, state="failed").exists())

    assert not BundleRollout.objects.filter(pk__in=ids, gate_open=True).exists()
    with pytest.raises(NothingToPlanError):
        fleet.roll_out(FLEET, **PACE)
    codes = {charger.name: fleet.standing()[charger.name] for charger in fleet.of("AC22")}
    assert set(codes.values()) == {ReasonCode.ANCHORS_MISSING}
    assert not CertificateRecord.objects.filter(purpose="charger_identity").exists()
    assert not MigrationCase.objects.exclude(state="pending").exists()
    assert {charger.profile for charger in (*rejecting, *fleet.of("AC22"))} == {2}
    # A station that forgets the root it has for each new one is lost by being tried; its canary spares the others.
    assert sum(charger.profile is None for charger in forgetful) <= 1


def _forget_the_identity_root(plant: Plant, charger: Charger) -> None:
    """It was delivered with the root of our server alone, as most are."""
    store = charger.station.store
    identity_root = plant.roots()[0]
    for stored in [one for one in store.state.roots if store.root(one) == identity_root]:
        store.remove_root(stored)


def _wait_for(fleet: MixedFleet, wave: Wave, state: WaveState) -> None:
    fleet.wait_until(lambda: Wave.objects.filter(pk=wave.pk, state=state).exists())


def _without(standing: dict[str, str], chargers: list[Charger]) -> dict[str, str]:
    names = {charger.name for charger in chargers}
    return {name: code for name, code in standing.items() if name not in names}


def _mend(*chargers: Charger) -> None:
    for charger in chargers:
        charger.suffers(reject_install=False)


def _pause_and_go_on(rollout: MigrationRollout, fleet: MixedFleet, waiting: list[Charger]) -> None:
    rollouts.pause(rollout=rollout, actor=OPERATOR, reason="holidays")
    with pytest.raises(TransitionRefusedError, match="paused"):
        rollouts.start_next(rollout=rollout, actor=OPERATOR, reason="too early")
    standing = fleet.standing()
    assert {standing[one.name] for one in waiting if one.description.model in MOVING} == {ReasonCode.ROLLOUT_PAUSED}
    resumed = rollouts.resume(rollout=rollout, actor=OPERATOR, reason="back at work")
    assert resumed.state == RolloutState.RUNNING


def _let_it_stay_silent(fleet: MixedFleet, charger: Charger) -> None:
    fleet.wait_until(lambda: charger.state == CaseState.INSTALLING)
    charger.deadline_passes()
    fleet.wait_until(lambda: charger.state == CaseState.QUARANTINE)


def _let_it_never_return(fleet: MixedFleet, charger: Charger) -> None:
    fleet.wait_until(lambda: charger.state == CaseState.PENDING_ACTIVATION and charger.profile is None)
    charger.deadline_passes()
    fleet.wait_until(lambda: charger.state == CaseState.ROLLBACK)
    charger.deadline_passes()
    fleet.wait_until(lambda: charger.state == CaseState.QUARANTINE)
    assert charger.case.last_frames


def _revoke_while_it_is_away(fleet: MixedFleet, stations: StationThread, charger: Charger) -> None:
    """It comes back with a certificate that is worth nothing any more, is refused, and falls back to its key."""
    fleet.wait_until(lambda: charger.state == CaseState.PENDING_ACTIVATION and charger.profile is None)
    record = CertificateRecord.objects.get(identity=charger.identity, state=RecordState.INSTALLED_PENDING_ACTIVATION)
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", revocation_reason="keyCompromise")
    assert charger.state == CaseState.ROLLBACK
    charger.suffers(never_reconnect=False)
    stations.start([charger.station])
    fleet.wait_until(lambda: charger.profile == 2)


def _only_the_bad_family_is_stopped(fleet: MixedFleet, bad: list[Charger]) -> None:
    fleet.wait_until(lambda: Breaker.objects.exists() and {charger.profile for charger in bad} == {2})
    fleet.wait_until(lambda: {fleet.standing()[charger.name] for charger in bad} <= {"issue_failed", "breaker_open"})
    breaker = Breaker.objects.get()
    assert breaker.family_id == bad[0].identity.family_id
    codes = [fleet.standing()[charger.name] for charger in bad]
    assert set(codes) <= {"issue_failed", "breaker_open"}
    assert codes.count("issue_failed") >= FAMILY_LIMIT
    assert {charger.profile for charger in bad} == {2}


def _installed(rollout: BundleRollout, chargers: list[Charger]) -> list[BundleInstallation]:
    found = BundleInstallation.objects.filter(
        rollout=rollout, identity__in=[one.identity for one in chargers], state__in=["installed", "active"]
    )
    return list(found)
