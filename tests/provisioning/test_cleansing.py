"""Pools that stay clean, whoever dies in between; and two who change the same at once."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, close_old_connections, connection, transaction
from django.db.models import Count, Q
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from inventory.choices import RecordState
from inventory.jobs import periodic
from inventory.models import CertificateRecord, Setback
from provisioning.models import PoolChange, PoolContract, PoolIdentifier, PoolProvisioningCertificate, PoolRoot
from provisioning.pools import cleansing, contracts, nodes, roots
from tests.inventory.guards import refused
from tests.provisioning.test_contract_pool import asked, given, said
from tests.provisioning.world import EMAID, OTHER_EMAID, OTHER_PCID, PCID, Contract, World
from tests.support import OPERATOR

NOW = datetime.now(UTC)


def emaids() -> set[str]:
    return set(PoolContract.objects.values_list("emaid", flat=True))


def pcids() -> set[str]:
    return set(PoolProvisioningCertificate.objects.values_list("pcid", flat=True))


def test_what_expired_goes_and_the_rest_stays(world: World) -> None:
    car = world.car_in_pool()
    world.published(days=10)
    world.published(OTHER_EMAID, days=700)
    assert cleansing.cleanse(NOW) == 0

    assert cleansing.cleanse(NOW + timedelta(days=11)) == 1

    assert emaids() == {OTHER_EMAID}
    assert given(asked(world.cpo, car))["emaid"] == OTHER_EMAID
    gone = PoolChange.objects.get(kind="contract_deleted")
    assert (gone.emaid, gone.actor, gone.reason) == (EMAID, "system:pools", "It has expired")


def test_a_vehicle_that_expired_takes_its_contracts_along(world: World) -> None:
    world.car_in_pool(days=10)
    world.car_in_pool(OTHER_PCID)
    world.published()
    world.published(OTHER_EMAID, OTHER_PCID)

    assert cleansing.cleanse(NOW + timedelta(days=11)) == 2

    assert (pcids(), emaids()) == ({OTHER_PCID}, {OTHER_EMAID})


def test_what_is_blocked_or_useless_goes(world: World) -> None:
    world.car_in_pool()
    world.car_in_pool(OTHER_PCID)
    world.published()
    world.published(OTHER_EMAID, OTHER_PCID)
    contracts.block(contract=PoolContract.objects.get(emaid=EMAID), actor=OPERATOR, reason="x", now=NOW)
    world.car_in_pool(OTHER_PCID)

    assert cleansing.cleanse(NOW) == 2

    assert (pcids(), emaids()) == ({PCID, OTHER_PCID}, set())


def test_what_stood_under_a_root_that_was_taken_out_goes(world: World) -> None:
    world.car_in_pool()
    world.published()
    roots.remove(root=world.roots["MO"], actor=OPERATOR, reason="Compromised")
    assert cleansing.cleanse(NOW) == 1
    assert (pcids(), emaids()) == ({PCID}, set())

    roots.remove(root=world.roots["OEM"], actor=OPERATOR, reason="Compromised")
    assert cleansing.cleanse(NOW) == 1
    assert pcids() == set()


def test_what_a_node_had_goes_with_its_identifiers(world: World) -> None:
    world.car_in_pool()
    world.published()
    nodes.close_node(node=world.mo.node, actor=OPERATOR, reason="Bankrupt")
    assert cleansing.cleanse(NOW) == 1
    assert (pcids(), emaids()) == ({PCID}, set())

    nodes.end_identifier(node=world.oem.node, value="WVW", actor=OPERATOR, reason="Sold")
    assert cleansing.cleanse(NOW) == 1
    assert pcids() == set()
    assert not PoolIdentifier.objects.filter(ended_at__isnull=False, cleansed_at=None).exists()


def test_a_certificate_that_is_revoked_in_the_inventory_is_given_to_nobody(world: World) -> None:
    car, other = world.car_in_pool(), world.car_in_pool(OTHER_PCID)
    contract = world.published()
    world.published("DE8AA777777777")
    world.published(OTHER_EMAID, OTHER_PCID)
    revoked = [
        CertificateRecord(purpose="iso15118_contract", fingerprint=contract.certificate.fingerprint_sha256),
        CertificateRecord(purpose="iso15118_oem_provisioning", fingerprint=other.certificate.fingerprint_sha256),
        CertificateRecord(purpose="charger_identity", fingerprint="0" * 64),
    ]
    for record in revoked:
        record.__dict__["state"] = RecordState.REVOKED

    cleansing.hear_of_records(revoked, NOW)

    assert given(asked(world.cpo, car))["emaid"] == "DE8AA777777777"
    assert said(asked(world.cpo, other), 404)
    assert cleansing.cleanse(NOW) == 3
    assert (pcids(), emaids()) == ({PCID}, {"DE8AA777777777"})


def test_an_expired_root_is_told_once(world: World) -> None:
    later = NOW + timedelta(days=9000)
    cleansing.cleanse(later)
    cleansing.cleanse(later)

    assert set(PoolRoot.objects.values_list("expiry_told_at", flat=True)) == {later}


def test_a_round_takes_as_many_statements_for_one_as_for_each_of_many_and_reads_no_contents(world: World) -> None:
    for number in range(6):
        pcid = f"WVWTESTVEHICLE1{number:02}"
        world.car_in_pool(pcid)
        world.published(f"DE8AA0000000{number:02}", pcid, days=10)
    with connection.execute_wrapper(no_contents):
        assert cleansing.cleanse(NOW + timedelta(days=11)) == 6


def no_contents(execute: Callable[..., object], sql: str, params: object, many: bool, context: object) -> object:
    """Refuses statements that read what is encrypted."""
    assert "signed_data" not in sql, sql
    return execute(sql, params, many, context)


def test_what_cannot_be_taken_away_is_set_aside_and_holds_up_no_other(world: World) -> None:
    world.car_in_pool()
    world.car_in_pool(OTHER_PCID)
    world.published(days=10)
    world.published(OTHER_EMAID, OTHER_PCID, days=10)
    held = PoolProvisioningCertificate.objects.get(pcid=PCID)
    later = NOW + timedelta(days=11)
    Setback.objects.create(work="pool-cleansing", key=held.pk, since=later, until=later + timedelta(hours=1), error="x")

    assert cleansing.cleanse(later) == 1
    assert emaids() == {EMAID}
    assert cleansing.cleanse(later + timedelta(hours=2)) == 1


# -- one default, held by the database


def test_the_database_knows_no_vehicle_with_two_defaults_and_none_without(world: World) -> None:
    world.car_in_pool()
    world.published()
    world.published(OTHER_EMAID)

    with pytest.raises(IntegrityError, match="one_default_contract_per_vehicle"), transaction.atomic():
        PoolContract.objects.update(is_default=True)
    with refused("has contracts and no default contract"), transaction.atomic():
        PoolContract.objects.update(is_default=False)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with refused("has contracts and no default contract"), transaction.atomic():
        PoolContract.objects.filter(emaid=EMAID).delete()
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


class OneVehicle(RuleBasedStateMachine):
    """Whatever is published, chosen, blocked, deleted and cleansed: each edition has exactly one default."""

    world: World
    published: list[Contract]
    numbers = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        PoolContract.objects.all().delete()

    def emaid(self, number: int) -> str:
        return f"DE8AA00000000{number}"

    @rule(number=numbers, second=st.booleans())
    def publish(self, number: int, second: bool) -> None:
        namespace = "urn:iso:15118:20:2022:MsgDef" if second else "urn:iso:15118:2:2013:MsgDef"
        body = self.published[number].body(xsdMsgDefNamespace=namespace)
        assert self.world.mo.put("ccp/signedContractData", body).status_code == 201

    @rule(number=numbers)
    def choose(self, number: int) -> None:
        answer = self.world.oem.post(f"ccp/signedContractData/{PCID}/{self.emaid(number)}/default")
        usable = PoolContract.objects.filter(emaid=self.emaid(number), revoked_at=None)
        assert answer.status_code == (200 if usable.exists() else 404)

    @rule(number=numbers)
    def block(self, number: int) -> None:
        for contract in PoolContract.objects.filter(emaid=self.emaid(number), revoked_at=None):
            contracts.block(contract=contract, actor=OPERATOR, reason="x", now=NOW)

    @rule(number=numbers)
    def delete(self, number: int) -> None:
        assert self.world.mo.delete(f"ccp/signedContractData/{self.emaid(number)}").status_code in (200, 404)

    @rule()
    def cleanse(self) -> None:
        cleansing.cleanse(NOW)
        assert not PoolContract.objects.filter(revoked_at__isnull=False).exists()

    @invariant()
    def each_edition_has_one_default(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        defaults = PoolContract.objects.values("namespace").annotate(
            chosen=Count("pk", filter=Q(is_default=True)),
            usable=Count("pk", filter=Q(revoked_at=None)),
            works=Count("pk", filter=Q(is_default=True, revoked_at=None)),
        )
        assert all(one["chosen"] == 1 and (one["works"] == 1 or one["usable"] == 0) for one in defaults)


def test_each_vehicle_always_has_exactly_one_default(world: World) -> None:
    world.car_in_pool()
    OneVehicle.world = world
    OneVehicle.published = [world.contract(f"DE8AA00000000{number}") for number in range(4)]
    run_state_machine_as_test(
        OneVehicle,
        settings=settings(
            max_examples=4,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )


# -- at once


def at_once(*works: Callable[[], object]) -> list[object]:
    """Run works on threads that all begin together; what each returned or raised."""
    barrier = threading.Barrier(len(works))
    results: list[object] = [None] * len(works)

    def run(place: int, work: Callable[[], object]) -> None:
        barrier.wait(30)
        try:
            results[place] = work()
        except Exception as error:  # noqa: BLE001  # a test looks at whatever it was
            results[place] = error
        finally:
            close_old_connections()
            connection.close()

    threads = [threading.Thread(target=run, args=(place, work)) for place, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_one_emaid_published_at_once_is_one_contract_with_one_vehicle(shared_world: World) -> None:
    world = shared_world
    world.car_in_pool()
    world.car_in_pool(OTHER_PCID)
    bodies = [world.contract().body(PCID), world.contract().body(PCID), world.contract().body(OTHER_PCID)]

    answers = at_once(*(lambda body=body: world.mo.put("ccp/signedContractData", body).status_code for body in bodies))

    contract = PoolContract.objects.get()
    expected = [201, 201, 400] if contract.provisioning_certificate.pcid == PCID else [400, 400, 201]
    assert answers == expected
    assert contract.is_default


def test_contracts_published_at_once_for_one_vehicle_leave_one_default(shared_world: World) -> None:
    world = shared_world
    world.car_in_pool()
    bodies = [world.contract(f"DE8AA00000000{number}").body() for number in range(4)]

    answers = at_once(*(lambda body=body: world.mo.put("ccp/signedContractData", body).status_code for body in bodies))

    assert answers == [201] * 4
    assert PoolContract.objects.filter(is_default=True).count() == 1


def test_a_vehicle_that_goes_while_contracts_come_leaves_nothing_behind(shared_world: World) -> None:
    world = shared_world
    world.car_in_pool()
    bodies = [world.contract(f"DE8AA00000000{number}").body() for number in range(3)]

    answers = at_once(
        lambda: world.oem.delete(f"oem/provCerts/{PCID}").status_code,
        *(lambda body=body: world.mo.put("ccp/signedContractData", body).status_code for body in bodies),
    )

    assert answers[0] == 200
    assert set(answers[1:]) <= {201, 400}
    assert not PoolContract.objects.exists()


def test_the_cleansing_is_a_duty_of_the_worker() -> None:
    known = {duty.name: duty.every for duty in periodic.known_duties()}
    assert known["pool-cleansing"] == timedelta(minutes=1)
    assert known["pool-pushes"] == timedelta(seconds=2)
