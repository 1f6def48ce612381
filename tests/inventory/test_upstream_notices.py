"""Whatever changes who is relayed where is said to the gateway nodes with the commit, and nothing else is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypeVar

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from pytest_django import Settings

from bfcerts.connections import connection_parameters
from inventory import seams
from inventory.audit import attributed
from inventory.choices import CohortKind
from inventory.models import ChargerFamily, Cohort, ManagedIdentity, Upstream
from inventory.services import catalogue, families, identities
from inventory.services.locking import lock_identity
from tests.support import OPERATOR, charger

ADDRESS = "wss://csms.example:8443/ocpp"
END = "that was all"
EVERYBODY = ""
Entry = TypeVar("Entry", Upstream, Cohort, ChargerFamily)


class Ear:
    """What a gateway node hears."""

    def __init__(self, listener: "psycopg.Connection[tuple[object, ...]]") -> None:
        self._listener = listener

    def said(self) -> list[str]:
        """Everything that was said since the last time, each once, in no order."""
        self._listener.execute("SELECT pg_notify('bfcerts_upstreams', %s)", [END])
        heard = set()
        for notification in self._listener.notifies():
            if notification.payload == END:
                break
            heard.add(notification.payload)
        return sorted(heard)


@pytest.fixture
def ear(transactional_db: None, settings: Settings) -> Iterator[Ear]:
    given = {"upstream_allowed": ["wss://csms.example:8443"]}
    settings.CONFIGURATION = django_settings.CONFIGURATION.model_copy(update=given)
    connection.ensure_connection()
    with psycopg.connect(autocommit=True, **connection_parameters("a node's ear")) as listener:
        listener.execute("LISTEN bfcerts_upstreams")
        yield Ear(listener)


def keep(entry: Entry) -> None:
    catalogue.save(entry=entry, actor=OPERATOR, reason="test")


def change(identity: ManagedIdentity, **changes: object) -> None:
    identities.update(identity=identity, changes=changes, actor=OPERATOR, reason="test")


def test_an_upstream_for_one_names_the_charger_and_one_for_all_names_nobody(ear: Ear) -> None:
    first, second = charger("CS-1"), charger("CS-2")
    upstream = Upstream(name="ours", url=ADDRESS)
    keep(upstream)
    assert ear.said() == [EVERYBODY]
    upstream.identity = first
    keep(upstream)
    assert ear.said() == [EVERYBODY, "CS-1"]
    upstream.identity = second
    keep(upstream)
    assert ear.said() == ["CS-1", "CS-2"]
    upstream.url = f"{ADDRESS}/v2"
    keep(upstream)
    assert ear.said() == ["CS-2"]
    upstream.notes = "nothing that a gateway needs"
    keep(upstream)
    assert ear.said() == []
    upstream.enabled = False
    keep(upstream)
    assert ear.said() == ["CS-2"]
    upstream.url = ADDRESS
    keep(upstream)
    assert ear.said() == []


def test_an_upstream_that_was_taken_back_is_never_heard_of(ear: Ear) -> None:
    with transaction.atomic():
        keep(Upstream(name="ours", url=ADDRESS))
        transaction.set_rollback(True)
    assert ear.said() == []


def test_a_charger_that_moves_between_cohorts_is_named(ear: Ear) -> None:
    identity = charger("CS-1")
    south = Cohort(name="South", kind=CohortKind.FILTER, filter={"site": "South"})
    keep(south)
    change(identity, site="Elsewhere")
    assert ear.said() == []
    keep(Upstream(name="south", url=ADDRESS, cohort=south))
    assert ear.said() == [EVERYBODY]
    for name, value in [("site", "South"), ("region", "R"), ("owner", "O"), ("tags", ["pilot"]), ("program", "P")]:
        change(identity, **{name: value})
        assert ear.said() == ["CS-1"], name
        change(identity, **{name: value})
        assert ear.said() == [], name
    change(identity, name="A name decides nothing")
    assert ear.said() == []
    ManagedIdentity.objects.filter(pk=identity.pk).update(site="North")
    assert ear.said() == ["CS-1"]


def test_a_charger_whose_family_changes_is_named_and_a_family_that_is_renamed_concerns_everybody(ear: Ear) -> None:
    identity = charger("CS-1")
    family = ChargerFamily(name="Ones", vendor="Vendor", model="One")
    keep(family)
    cohort = Cohort(name="Ones", kind=CohortKind.FILTER, filter={"family": "Ones"})
    keep(cohort)
    keep(Upstream(name="ones", url=ADDRESS, cohort=cohort))
    ear.said()
    with transaction.atomic(), attributed(OPERATOR, "it booted"):
        boot = seams.Boot(lock_identity(identity.pk), "", "Vendor", "One", "", "1.0", datetime.now(UTC))
        families.booted(boot)
    assert ear.said() == ["CS-1"]
    family.name = "The ones"
    keep(family)
    assert ear.said() == [EVERYBODY]


def test_members_of_a_cohort_with_an_upstream_are_named(ear: Ear) -> None:
    charger("CS-1")
    charger("CS-2")
    pilot, other = Cohort(name="Pilot"), Cohort(name="Other")
    keep(pilot)
    keep(other)
    keep(Upstream(name="pilot", url=ADDRESS, cohort=pilot))
    ear.said()
    catalogue.add_members(cohort=other, identifiers=["CS-1"], actor=OPERATOR, reason="test")
    assert ear.said() == []
    catalogue.add_members(cohort=pilot, identifiers=["CS-1"], actor=OPERATOR, reason="test")
    assert ear.said() == ["CS-1"]
    catalogue.remove_members(cohort=pilot, identifiers=["CS-1"], actor=OPERATOR, reason="test")
    assert ear.said() == ["CS-1"]


def test_another_filter_concerns_everybody_where_the_cohort_has_an_upstream(ear: Ear) -> None:
    cohort = Cohort(name="South", kind=CohortKind.FILTER, filter={"site": "South"})
    keep(cohort)
    cohort.filter = {"site": "North"}
    keep(cohort)
    assert ear.said() == []
    keep(Upstream(name="south", url=ADDRESS, cohort=cohort))
    ear.said()
    cohort.description = "No change of whom it has"
    keep(cohort)
    assert ear.said() == []
    cohort.filter = {"site": "South"}
    keep(cohort)
    assert ear.said() == [EVERYBODY]
