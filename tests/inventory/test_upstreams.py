"""Which charger is relayed where: the narrowest upstream wins and says why; nothing secret or forbidden is kept."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pydantic import ValidationError as ConfigurationProblem
from pytest_django import Settings

from bfcerts.configuration import Configuration
from bfcerts.ocpp import registry
from bfcerts.ocpp.canonical import Evidence
from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.registry import WhenAway
from bfcerts.setting_kinds import Process
from inventory.choices import CohortKind, SecurityCategory, SecuritySource, Severity
from inventory.models import Cohort, ManagedIdentity, SecurityEvent, Upstream
from inventory.services import catalogue, identities, upstreams
from inventory.services.security_events import record_security_event
from tests.admin import given
from tests.ocpp.authority import Authority
from tests.support import OPERATOR, ControlPlane, charger

ADDRESS = "wss://csms.example:8443/ocpp"
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    given = {"upstream_allowed": ["wss://csms.example:8443", "wss://other.example"]}
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update=given)


def upstream(name: str, **values: object) -> Upstream:
    return catalogue.save(entry=Upstream(name=name, **{"url": ADDRESS, **values}), actor=OPERATOR, reason="test")


def cohort(name: str, **values: object) -> Cohort:
    return catalogue.save(entry=Cohort(name=name, **values), actor=OPERATOR, reason="test")


def route(identity: ManagedIdentity) -> str | None:
    """The name of the upstream that the gateway is told, for one station among others."""
    source = registry.upstreams()
    assert source is not None
    _, found, _ = source.of(["unknown", identity.authoritative_identifier, "nobody"])
    return found.name if found else None


def winner(identity: ManagedIdentity) -> str | None:
    return next((one.upstream.name for one in upstreams.explain(identity) if one.won), None)


def test_without_any_upstream_nobody_is_relayed(db: None) -> None:
    assert route(charger("CS-1")) is None
    assert upstreams.explain(charger("CS-2")) == []


def test_the_narrowest_wins_and_says_why(db: None) -> None:
    identity, neighbour, other = charger("CS-1", site="North"), charger("CS-2", site="North"), charger("CS-3")
    upstream("everybody")
    upstream("north", cohort=cohort("North", kind=CohortKind.FILTER, filter={"site": "North"}))
    upstream("one", identity=identity, when_away="close")
    assert [route(one) for one in (identity, neighbour, other)] == ["one", "north", "everybody"]
    assert [winner(one) for one in (identity, neighbour, other)] == ["one", "north", "everybody"]
    assert [(one.upstream.name, one.why, one.won) for one in upstreams.explain(neighbour)] == [
        ("north", "applies by cohort North", True),
        ("everybody", "applies to every charger", False),
        ("one", "does not apply: not charger CS-1", False),
    ]
    source = registry.upstreams()
    assert source is not None
    (told,) = source.of(["CS-1"])
    assert told == registry.Upstream("one", ADDRESS, when_away=WhenAway.CLOSE)


def test_members_of_a_static_cohort_are_relayed_and_others_are_not(db: None) -> None:
    member, other = charger("CS-1"), charger("CS-2")
    group = cohort("Pilot")
    catalogue.add_members(cohort=group, identifiers=["CS-1"], actor=OPERATOR, reason="test")
    upstream("pilot", cohort=group)
    assert [route(member), route(other)] == ["pilot", None]
    assert [winner(member), winner(other)] == ["pilot", None]


def test_one_without_an_address_is_an_exception_from_the_others(db: None) -> None:
    identity = charger("CS-1")
    upstream("everybody")
    upstream("not this one", url="", identity=identity)
    assert route(identity) is None
    assert winner(identity) == "not this one"


def test_one_that_is_off_says_nothing(db: None) -> None:
    upstream("everybody", enabled=False)
    assert route(charger("CS-1")) is None


def test_the_cost_does_not_grow_with_the_stations(db: None) -> None:
    upstream("north", cohort=cohort("North", kind=CohortKind.FILTER, filter={"site": "North"}))
    names = [charger(f"CS-{number}", site="North").authoritative_identifier for number in range(20)]
    counts = []
    for some in (names[:1], names):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert {one.name for one in upstreams.Upstreams().of(some) if one} == {"north"}
        counts.append(len(captured))
    assert counts == [3, 3]


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"url": "wss://elsewhere.example/x"}, "url", "BFCERTS_UPSTREAM_ALLOWED"),
        ({"url": "ws://csms.example:8443/ocpp"}, "url", "BFCERTS_UPSTREAM_ALLOWED"),
        ({"url": "wss://csms.example/ocpp"}, "url", "BFCERTS_UPSTREAM_ALLOWED"),
        ({"url": "https://csms.example:8443/ocpp"}, "url", "begins with wss://"),
        ({"url": "wss://user:secret@csms.example:8443/ocpp"}, "url", "a user or a password"),
        ({"url": "wss://csms.example:8443/ocpp?a=b"}, "url", "a query"),
        ({"url": "wss://csms.example:99999/ocpp"}, "url", "is not an address"),
        ({"credential": "user:secret"}, "credential", "never the secret"),
        ({"ca_bundle": "-----BEGIN nothing"}, "ca_bundle", "PEM"),
    ],
)
def test_what_could_not_be_dialled_is_not_stored(db: None, values: dict[str, str], field: str, said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        upstream("wrong", **values)
    assert said in str(raised.value.message_dict[field])
    assert "secret@" not in str(raised.value)
    assert not Upstream.objects.exists()


def test_two_of_one_scope_a_cohort_and_a_charger_together_and_a_vehicle_are_refused(db: None) -> None:
    upstream("first")
    with pytest.raises(ValidationError, match="same scope"):
        upstream("second")
    with pytest.raises(ValidationError, match="not both"):
        upstream("both", cohort=cohort("C"), identity=charger("CS-1"))
    vehicle = identities.create(kind="vehicle", authoritative_identifier="VIN", actor=OPERATOR, reason="test")
    with pytest.raises(ValidationError, match="Only chargers"):
        upstream("vehicle", identity=vehicle)


def test_a_bundle_of_certificates_is_kept(db: None) -> None:
    bundle = Authority("Root").root_pem
    assert upstream("ours", ca_bundle=bundle, credential="main").history.count() == 1
    source = registry.upstreams()
    assert source is not None
    (told,) = source.of(["CS-1"])
    assert told is not None
    assert (told.ca_bundle, told.credential) == (bundle, "main")


def test_what_an_upstream_did_is_a_security_event_that_names_it(plane: ControlPlane) -> None:
    charger("CS-1")
    payload = {"kind": "call_refused", "upstream": "Our CSMS", "detail": "CertificateSigned", "count": 1}
    plane.observe("CS-1", Evidence.UPSTREAM, payload)
    plane.read_inbox()
    event = SecurityEvent.objects.get(type="UpstreamCallRefused")
    assert event.identity is not None
    assert event.identity.authoritative_identifier == "CS-1"
    assert "Our CSMS" in event.message
    assert "CertificateSigned" in event.message


def test_whoever_may_look_is_told_which_upstream_applies_and_why(db: None) -> None:
    charger("CS-1")
    upstream("everybody")
    api = given.speaker(given.person("ann", "inventory.view_upstream"))
    answer = api.get("/api/v1/upstreams/applying", {"station": "CS-1"})
    assert [(one["name"], one["won"], one["why"]) for one in answer.json()] == [
        ("everybody", True, "applies to every charger")
    ]
    assert api.get("/api/v1/upstreams/applying", {"station": "CS-2"}).status_code == 404


@pytest.mark.parametrize("process", [Process.WEB, Process.WORKER])
def test_only_the_gateway_is_given_what_upstreams_are_shown(process: Process) -> None:
    with pytest.raises(ConfigurationProblem, match="only the gateway shows them"):
        Configuration.model_validate({"process": process, "upstream_credentials": "{}"})
    Configuration.model_validate({"process": Process.GATEWAY, "upstream_credentials": "{}"})


def session_of(station_id: str, **values: object) -> StationSession:
    """An open session of a station, as its gateway wrote it."""
    return StationSession.objects.create(
        station_id=station_id,
        node="node-a",
        listener="profile3",
        protocol="ocpp2.0.1",
        security_profile=3,
        address="127.0.0.1",
        connected_at=NOW,
        **values,
    )


def refuse_calls(identity: ManagedIdentity, *counts: int) -> None:
    """Refusals told with these counts, and something else that happened."""
    for number, (kind, count) in enumerate([*(("UpstreamCallRefused", count) for count in counts), ("Other", 7)]):
        record_security_event(
            kind,
            category=SecurityCategory.OTHER,
            severity=Severity.WARNING,
            source=SecuritySource.CONTROL_PLANE,
            message="refused",
            now=NOW,
            identity=identity,
            payload={"count": count},
            dedupe_key=f"refused {number}",
        )


WATCHER = (
    "inventory.view_managedidentity",
    "inventory.view_upstream",
    "inventory.view_securityevent",
    "ocpp.view_stationsession",
)


@pytest.mark.parametrize(
    ("session", "state", "badge"),
    [
        (None, "not_connected", "The charger is not connected"),
        ({}, "connecting", "Connecting"),
        ({"upstream": "former", "upstream_state": "connected", "upstream_since": NOW}, "connecting", "Connecting"),
        ({"upstream": "ours", "upstream_state": "connected", "upstream_since": NOW}, "connected", "Connected"),
        (
            {"upstream": "ours", "upstream_state": "away", "upstream_since": NOW, "upstream_detail": "no sign of life"},
            "away",
            "Away",
        ),
    ],
)
def test_the_page_and_the_api_say_where_a_charger_is_relayed_to_and_how_that_stands(
    db: None, client: Client, session: dict[str, object] | None, state: str, badge: str
) -> None:
    identity = charger("CS-1")
    upstream("ours", identity=identity, credential="main")
    refuse_calls(identity, 1, 4)
    if session is not None:
        session_of("CS-1", **session)
    watcher = given.person("ann", *WATCHER)

    told = given.speaker(watcher).get(f"/api/v1/identities/{identity.pk}/upstream").json()
    client.force_login(watcher)
    page = client.get(f"/admin/inventory/managedidentity/{identity.pk}/change/").content.decode()
    card = page[page.index('data-testid="upstream"') : page.index("</section>", page.index('data-testid="upstream"'))]

    assert (told["name"], told["scope"], told["address"], told["state"]) == ("ours", "own", ADDRESS, state)
    assert (told["why"], told["refused_calls"]) == ("applies by charger CS-1", 5)
    assert (told["since"] is not None) == (state in ("connected", "away"))
    assert f'data-state="{state}"' in card
    assert badge in card
    assert ADDRESS in card
    assert "main" not in card.replace("remain", "")
    link = card[card.index("/admin/inventory/securityevent/?") : card.index('">5</a>')].replace("&amp;", "&")
    assert {event.type for event in client.get(link).context["cl"].result_list} == {"UpstreamCallRefused"}
    if state == "away":
        assert told["detail"] == "no sign of life"
        assert "no sign of life" in card


def test_a_charger_that_no_upstream_is_for_is_said_to_be_answered_here(db: None, client: Client) -> None:
    identity = charger("CS-1")
    upstream("another's", identity=charger("CS-2"))
    watcher = given.person("ann", *WATCHER)
    client.force_login(watcher)
    page = client.get(f"/admin/inventory/managedidentity/{identity.pk}/change/").content.decode()
    assert "None applies; this charger is answered here alone." in page
    told = given.speaker(watcher).get(f"/api/v1/identities/{identity.pk}/upstream").json()
    assert (told["state"], told["scope"], told["upstream"]) == ("not_relayed", "none", None)


@pytest.mark.parametrize("missing", WATCHER[1:])
def test_whoever_may_not_see_all_of_it_is_not_told_by_the_api(db: None, missing: str) -> None:
    identity = charger("CS-1")
    api = given.speaker(given.person("ann", *(one for one in WATCHER if one != missing)))
    answer = api.get(f"/api/v1/identities/{identity.pk}/upstream")
    assert answer.status_code == 403
    assert missing in answer.json()["detail"]


def test_without_any_upstream_the_page_says_nothing_of_one(db: None, client: Client) -> None:
    identity = charger("CS-1")
    client.force_login(given.person("ann", *WATCHER))
    page = client.get(f"/admin/inventory/managedidentity/{identity.pk}/change/").content.decode()
    assert 'data-testid="upstream"' not in page
