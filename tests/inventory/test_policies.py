"""Lifecycle policies: which one wins and why, what cannot be entered, and the defaults of the specification."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory.audit import attributed
from inventory.choices import CohortKind
from inventory.models import CertificateRecord, ChargerFamily, Cohort, LifecyclePolicy, ManagedIdentity
from inventory.models.cohort import containing
from inventory.services import policies
from inventory.services.policies import NoPolicyError
from tests.support import OPERATOR, charger, restore_default_policies

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _defaults(db: None) -> None:
    restore_default_policies()


def policy(name: str, **fields: Any) -> LifecyclePolicy:
    entry = LifecyclePolicy(**{"name": name, "purpose": "charger_identity", "validity": 90 * DAY, **fields})
    with attributed(OPERATOR, "test"):
        entry.full_clean()
        entry.save()
    return entry


@pytest.fixture
def family() -> ChargerFamily:
    with attributed(OPERATOR, "test"):
        return ChargerFamily.objects.create(name="Acme 7", vendor="Acme", model="7")


@pytest.fixture
def cohort() -> Cohort:
    with attributed(OPERATOR, "test"):
        return Cohort.objects.create(name="North", kind=CohortKind.FILTER, filter={"site": "North"})


@pytest.fixture
def identity(family: ChargerFamily) -> ManagedIdentity:
    return charger("CS-1", family=family, site="North", program="pilot", mode="managed")


def winner(identity: ManagedIdentity) -> str:
    return policies.resolve(identity, "charger_identity").policy.name


# -- the narrowest wins ----------------------------------------------------------------------------------------------


def test_each_narrower_scope_wins_over_all_wider_ones(
    identity: ManagedIdentity, family: ChargerFamily, cohort: Cohort
) -> None:
    assert winner(identity) == "Charger identity, default"
    policy("by mode", mode="managed")
    assert winner(identity) == "by mode"
    policy("by program", program="pilot")
    assert winner(identity) == "by program"
    policy("by program and mode", program="pilot", mode="managed")
    assert winner(identity) == "by program and mode"
    policy("by family", family=family)
    assert winner(identity) == "by family"
    policy("by family, program and mode", family=family, program="pilot", mode="managed")
    assert winner(identity) == "by family, program and mode"
    policy("by cohort", cohort=cohort)
    assert winner(identity) == "by cohort"
    policy("by everything", cohort=cohort, family=family, program="pilot", mode="managed")
    assert winner(identity) == "by everything"


def test_a_policy_applies_only_where_all_its_scopes_do(family: ChargerFamily, cohort: Cohort) -> None:
    policy("by cohort and family", cohort=cohort, family=family)
    policy("another program", program="other")

    assert winner(charger("CS-2", site="North")) == "Charger identity, default"
    assert winner(charger("CS-3", family=family)) == "Charger identity, default"
    assert winner(charger("CS-4", family=family, site="North")) == "by cohort and family"


def test_a_cohorts_members_are_those_of_now(identity: ManagedIdentity) -> None:
    with attributed(OPERATOR, "test"):
        cohort = Cohort.objects.create(name="Named")
    policy("by cohort", cohort=cohort)
    assert winner(identity) == "Charger identity, default"

    cohort.members.add(identity)
    assert winner(identity) == "by cohort"
    cohort.members.remove(identity)
    assert winner(identity) == "Charger identity, default"


def test_the_number_of_queries_does_not_grow_with_the_cohorts(identity: ManagedIdentity) -> None:
    def resolved_with(cohorts: int) -> int:
        for number in range(Cohort.objects.count(), cohorts):
            with attributed(OPERATOR, "test"):
                kind = CohortKind.FILTER if number % 2 else CohortKind.STATIC
                condition = {"site": ["South", f"Depot {number}"], "tag": "pilot"} if number % 2 else {}
                policy(
                    f"policy {number}", cohort=Cohort.objects.create(name=f"C-{number}", kind=kind, filter=condition)
                )
        with CaptureQueriesContext(connection) as queries:
            policies.resolve(identity, "charger_identity")
        return len(queries)

    few = resolved_with(2)

    assert resolved_with(20) == few <= 4


def test_each_of_many_cohorts_is_judged_by_itself(identity: ManagedIdentity) -> None:
    filters = [{"site": "South"}, {"site": "North", "family": "Acme 7"}, {"tag": ["a", "b"]}, {"family": "Other"}, {}]
    with attributed(OPERATOR, "test"):
        cohorts = [
            Cohort.objects.create(name=f"F-{number}", kind=CohortKind.FILTER, filter=condition)
            for number, condition in enumerate(filters)
        ]
        named, empty = Cohort.objects.create(name="Named"), Cohort.objects.create(name="Empty")
    named.members.add(identity)
    ManagedIdentity.objects.filter(pk=identity.pk).update(tags=["b", "z"])

    assert containing(identity, [*cohorts, named, empty]) == {cohorts[1].pk, cohorts[2].pk, named.pk}
    assert containing(identity, []) == set()


def test_an_issuing_job_has_time_for_all_that_its_policy_allows_and_a_renewal_until_the_old_one_ends() -> None:
    entry = default("charger_identity")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    soon, late = CertificateRecord(not_after=now + DAY), CertificateRecord(not_after=now + 90 * DAY)

    ends = policies.issuing_deadline(entry, now=now, replaced=None)

    assert ends - now == 3 * 2 * 3 * DAY + 8 * timedelta(hours=2) + timedelta(hours=4) + 7 * DAY
    assert policies.issuing_deadline(entry, now=now, replaced=soon) == ends
    assert policies.issuing_deadline(entry, now=now, replaced=late) == late.not_after


def test_a_disabled_policy_applies_to_nobody(identity: ManagedIdentity, cohort: Cohort) -> None:
    entry = policy("by cohort", cohort=cohort)
    LifecyclePolicy.objects.filter(pk=entry.pk).update(enabled=False)

    assert winner(identity) == "Charger identity, default"


def test_the_explanation_names_every_candidate_the_winner_first_and_why(
    identity: ManagedIdentity, family: ChargerFamily, cohort: Cohort
) -> None:
    policy("by cohort", cohort=cohort)
    policy("of another program", program="other", family=family)

    resolved = policies.resolve(identity, "charger_identity")

    assert [(entry.policy.name, entry.won, entry.why) for entry in resolved.explanation] == [
        ("by cohort", True, "applies by cohort North"),
        ("Charger identity, default", False, "applies to every identity of the purpose"),
        ("of another program", False, "does not apply: not in program other"),
    ]


def test_without_any_policy_the_sentence_says_what_to_do(identity: ManagedIdentity) -> None:
    LifecyclePolicy.objects.filter(purpose="charger_identity").update(enabled=False)

    with pytest.raises(NoPolicyError, match=r"No enabled lifecycle policy applies to CS-1 .*: enable or add one"):
        policies.resolve(identity, "charger_identity")


def test_policies_of_authorization_keys_resolve_too(identity: ManagedIdentity) -> None:
    assert policies.resolve(identity, "authorization_key").policy.name == "AuthorizationKey, default"


# -- what cannot be entered ------------------------------------------------------------------------------------------


def test_two_enabled_policies_of_one_scope_cannot_be(family: ChargerFamily) -> None:
    policy("first", family=family)

    with pytest.raises(ValidationError), attributed(OPERATOR, "test"):
        LifecyclePolicy(name="second", purpose="charger_identity", family=family).full_clean()
    with pytest.raises(IntegrityError, match="one_policy_per_scope"), transaction.atomic():
        LifecyclePolicy.objects.bulk_create([LifecyclePolicy(name="second", purpose="charger_identity", family=family)])
    policy("third", family=family, enabled=False)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"cut_over_deadline": 7 * DAY, "rollback_window": 7 * DAY},
            "The cut-over deadline must end before the rollback window.",
        ),
        (
            {"validity": 37 * DAY, "renewal_threshold": 30 * DAY, "renewal_lead": 7 * DAY},
            "Renewal threshold and lead together must be shorter than the validity.",
        ),
        (
            {"renewal_threshold": 30 * DAY, "escalation_threshold": 30 * DAY},
            "Escalation must come after the renewal threshold, closer to expiry.",
        ),
        (
            {"escalation_threshold": 14 * DAY, "incident_threshold": 14 * DAY},
            "The incident threshold must come after escalation, closer to expiry.",
        ),
    ],
)
def test_contradictory_times_are_refused_with_a_sentence_and_by_the_database(
    fields: dict[str, timedelta], sentence: str
) -> None:
    entry = LifecyclePolicy(**{"name": "bad", "purpose": "charger_identity", "program": "p", **fields})

    with pytest.raises(ValidationError) as refusal:
        entry.full_clean()
    assert refusal.value.messages == [sentence]
    with pytest.raises(IntegrityError), transaction.atomic():
        LifecyclePolicy.objects.bulk_create([entry])


# -- the defaults of the specification's renewal appendix ------------------------------------------------------------


def default(purpose: str) -> LifecyclePolicy:
    return LifecyclePolicy.objects.get(purpose=purpose, mode="", program="", family=None, cohort=None)


def test_the_default_for_chargers_is_that_of_the_specification() -> None:
    entry = default("charger_identity")

    assert (entry.validity, entry.renewal_threshold, entry.renewal_lead) == (180 * DAY, 30 * DAY, 7 * DAY)
    assert (entry.escalation_threshold, entry.incident_threshold) == (14 * DAY, 7 * DAY)
    assert entry.cut_over_deadline < entry.rollback_window
    assert entry.allowed_key_algorithms == ["EC-P256", "EC-P384", "RSA-2048", "RSA-3072", "RSA-4096"]


@pytest.mark.parametrize(
    "purpose",
    [
        "charger_identity",
        "vehicle_vas_identity",
        "iso15118_evse_leaf",
        "iso15118_contract",
        "iso15118_oem_provisioning",
        "backend_server",
        "iot_hub_device",
        "root_ca",
        "intermediate_ca",
        "authorization_key",
    ],
)
def test_every_purpose_and_ca_and_key_has_one_consistent_default(purpose: str) -> None:
    default(purpose).full_clean()


def test_an_intermediate_is_replaced_before_its_leaves_would_outlive_it() -> None:
    longest = max(
        entry.validity
        for entry in LifecyclePolicy.objects.exclude(purpose__endswith="_ca")
        if entry.validity is not None
    )
    threshold = default("intermediate_ca").renewal_threshold

    assert threshold is not None
    assert threshold >= longest


def test_vehicles_are_renewed_at_least_yearly_and_provisionally() -> None:
    entry = default("vehicle_vas_identity")

    assert entry.validity == 365 * DAY
    assert "Provisional" in entry.notes


# -- the start of a renewal and the delay of retries -----------------------------------------------------------------


def test_starts_are_spread_over_the_lead_before_the_threshold_and_fixed_for_each_record() -> None:
    entry = default("charger_identity")
    ends = datetime(2026, 7, 1, tzinfo=UTC)
    starts = [policies.renewal_start(CertificateRecord(pk=number, not_after=ends), entry) for number in range(1, 2001)]
    days_left = [(ends - start) / DAY for start in starts if start is not None]

    assert len(days_left) == 2000
    assert all(30 <= left <= 37 for left in days_left)
    per_day = [sum(1 for left in days_left if day <= left < day + 1) for day in range(30, 37)]
    assert all(200 < count < 380 for count in per_day), per_day
    assert starts == [
        policies.renewal_start(CertificateRecord(pk=number, not_after=ends), entry) for number in range(1, 2001)
    ]


def test_without_a_threshold_nothing_starts_by_itself() -> None:
    entry = default("iot_hub_device")

    assert policies.renewal_start(CertificateRecord(pk=1, not_after=datetime(2026, 7, 1, tzinfo=UTC)), entry) is None


def test_the_delay_doubles_up_to_its_limit() -> None:
    entry = LifecyclePolicy(retry_delay=timedelta(seconds=30), retry_delay_limit=timedelta(minutes=5))

    delays = [policies.retry_delay(entry, attempt).total_seconds() for attempt in (1, 2, 3, 4, 5, 100)]

    assert delays == [30, 60, 120, 240, 300, 300]
