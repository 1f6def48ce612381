"""The doors of provisioning: console, API and command line do the same, with the same sentences."""

from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from inventory.models import CertificateRecord
from provisioning.models import ExternalReference, OwnershipDecision, ProvisioningCase, ProvisioningEvidence
from tests.admin import given
from tests.provisioning.support import (
    AUTHORITY,
    CONTACT,
    CONTRACT,
    DECIDED,
    EMAID,
    PCID,
    activated,
    again,
    certificate,
    decide,
    in_delivery,
    root_of,
    says,
    start,
    vehicle,
)
from tests.support import Clock, ControlPlane

pytestmark = pytest.mark.django_db


@pytest.fixture
def maria(plane: ControlPlane) -> User:
    decide()
    return given.administrator()


@pytest.fixture
def console(maria: User) -> Client:
    client = Client()
    client.force_login(maria)
    return client


@pytest.fixture
def api(maria: User) -> APIClient:
    return given.speaker(maria)


def page(console: Client, name: str, *args: Any) -> str:
    answer = console.get(reverse(f"admin:{name}", args=args))
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def do(console: Client, target: Any, verb: str, **values: str) -> Any:
    """Fill in the form of a verb and send it."""
    options = target._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_do", args=[target.pk, verb])
    asked = console.get(url)
    assert asked.status_code == 200
    context = asked.context
    return console.post(
        url,
        {
            "idempotency_key": context["idempotency_key"],
            "version": context["version"],
            "reason": "Agreed by telephone",
            **values,
        },
        follow=True,
    )


# -- console ---------------------------------------------------------------------------------------------------------


def test_a_case_is_started_confirmed_and_brought_to_active_in_the_console(console: Client, clock: Clock) -> None:
    identity = vehicle("WAUZZZ1")
    root_of(CONTRACT, clock)

    answer = do(console, identity, "provision", purpose=CONTRACT, slot=EMAID, path="hubject", pcid=PCID)

    case = ProvisioningCase.objects.get()
    assert f"Case {case.pk} of WAUZZZ1 is prerequisites." in unescape(answer.content.decode())
    text = page(console, "provisioning_provisioningcase_change", case.pk)
    assert "Our account with the service is ready for this" in text
    assert "Nobody has confirmed it yet." in text
    assert CONTACT in text
    do(console, case, "confirm", prerequisite="account_ready")
    do(console, again(case), "confirm", prerequisite="contract_agreed")
    assert again(case).state == "delivery"
    said = {"system": "hubject", "outcome": "positive", "summary": "Stored in the pool."}
    do(
        console,
        again(case),
        "record_outcome",
        kind="delivery",
        certificate_pem=certificate(clock),
        reference_kind="contract",
        reference="C-9",
        **said,
    )
    do(console, again(case), "record_outcome", kind="readiness", **said)

    case = again(case)
    assert case.state == "active"
    assert CertificateRecord.objects.get().state == "active"
    text = page(console, "provisioning_provisioningcase_change", case.pk)
    assert "C-9" in text
    assert "Fresh until" in text
    assert 'data-state="active"' in text


def test_what_is_stale_is_not_shown_as_confirmed(console: Client, clock: Clock) -> None:
    clock.advance(days=-3)
    case = activated(clock)

    text = page(console, "provisioning_provisioningcase_change", case.pk)

    assert "Active, not confirmed lately" in text
    assert "Stale since" in text
    assert "Stale" in page(console, "provisioning_provisioningevidence_changelist")


def test_a_block_says_whom_to_call_and_is_lifted_only_on_fresh_word(console: Client, clock: Clock) -> None:
    case = activated(clock)

    do(console, case, "block")

    case = again(case)
    assert case.state == "blocked"
    text = page(console, "provisioning_provisioningcase_change", case.pk)
    assert f"Call {AUTHORITY}: {CONTACT}." in text
    assert f"Not now: No fresh word of {AUTHORITY} since then" in text
    refused = do(console, case, "unblock")
    assert refused.status_code == 409
    assert f"no fresh word of {AUTHORITY}" in unescape(refused.content.decode())


def test_the_page_of_a_vehicle_shows_its_cases(console: Client, clock: Clock) -> None:
    case = start(clock)

    text = page(console, "inventory_managedidentity_change", case.identity_id)

    assert "Nobody has confirmed it yet" in text


def test_a_certificate_of_others_is_registered_in_the_console(console: Client, clock: Clock) -> None:
    identity = vehicle("WAUZZZ1")

    answer = do(
        console,
        identity,
        "register",
        purpose=CONTRACT,
        slot=EMAID,
        certificate_pem=certificate(clock),
        state="active",
        evidence_kind="external_confirmation",
    )

    record = CertificateRecord.objects.get()
    assert (record.state, record.kept, record.certificate_pem) == ("active", "lifecycle_only", "")
    assert f"{AUTHORITY} can revoke and renew it." in unescape(answer.content.decode())


def test_a_decision_is_edited_with_a_reason_and_its_contradiction_is_said_at_the_form(console: Client) -> None:
    decision = OwnershipDecision.objects.get()
    url = reverse("admin:provisioning_ownershipdecision_change", args=[decision.pk])
    form = console.get(url).context["adminform"].form
    values = {**DECIDED, "support_contact": "", "note": "", "version": form.version, "reason": "Signed"}

    refused = console.post(url, {**values, "our_role": "issuer"})
    assert "Whoever issues keeps the whole certificate" in unescape(refused.content.decode())
    console.post(url, {**values, "note": "Signed in May"})

    decision.refresh_from_db()
    assert decision.note == "Signed in May"


def test_the_matrix_is_printed_and_exported(console: Client) -> None:
    text = page(console, "provisioning_ownershipdecision_matrix")
    assert "Vehicle VAS identity" in text
    assert "every field is missing" in text
    assert AUTHORITY in text

    export = console.get(reverse("admin:provisioning_ownershipdecision_export"))
    assert export.headers["Content-Disposition"] == 'attachment; filename="ownership-decisions.csv"'
    assert AUTHORITY in export.content.decode()


@pytest.mark.parametrize("name", ["matrix", "export"])
def test_nobody_sees_the_matrix_without_the_permission(plane: ControlPlane, name: str) -> None:
    client = Client()
    client.force_login(given.person("clerk", "inventory.view_managedidentity"))

    assert client.get(reverse(f"admin:provisioning_ownershipdecision_{name}")).status_code == 403


# -- API -------------------------------------------------------------------------------------------------------------


def post(api: APIClient, where: str, **body: Any) -> Any:
    return api.post(f"/api/v1/{where}", {"reason": "test", **body}, format="json")


def test_a_case_goes_its_way_over_the_api(api: APIClient, clock: Clock) -> None:
    root_of(CONTRACT, clock)
    started = post(
        api, "provisioning-cases", identity=vehicle().pk, purpose=CONTRACT, slot=EMAID, path="hubject", pcid=PCID
    )
    assert started.status_code == 201
    number = started.json()["id"]
    failing = [item["key"] for item in started.json()["prerequisites"] if not item["met"]]
    assert failing == ["account_ready", "contract_agreed"]

    refused = post(api, f"provisioning-cases/{number}/deliver")
    assert (refused.status_code, refused.json()["code"]) == (409, "prerequisites_missing")
    assert refused.json()["prerequisites"] == failing
    for key in failing:
        assert post(api, f"provisioning-cases/{number}/confirm", prerequisite=key).status_code == 200
    said = {"case": number, "system": "hubject", "outcome": "positive"}
    told = post(
        api,
        "provisioning-evidence",
        kind="delivery",
        certificate_pem=certificate(clock),
        reference="C-1",
        reference_kind="contract",
        dedupe_key="webhook:1",
        **said,
    )
    assert told.status_code == 201, told.json()
    assert told.json()["standing"]["standing"] == "valid"
    post(api, "provisioning-evidence", kind="readiness", **said)

    shown = api.get(f"/api/v1/provisioning-cases/{number}").json()
    assert (shown["state"], shown["confirmed"]["standing"]) == ("active", "valid")
    assert api.get(f"/api/v1/external-references?case={number}").json()["results"][0]["value"] == "C-1"


def test_a_verb_on_a_version_that_is_gone_is_refused(api: APIClient, clock: Clock) -> None:
    case = in_delivery(clock)
    tag = api.get(f"/api/v1/provisioning-cases/{case.pk}").headers["ETag"]
    says(clock, case, "request", "refused")

    answer = api.post(
        f"/api/v1/provisioning-cases/{case.pk}/cancel", {"reason": "test"}, format="json", headers={"If-Match": tag}
    )

    assert answer.status_code == 412
    assert again(case).state == "failed"


def test_the_same_request_twice_starts_one_case(api: APIClient, clock: Clock) -> None:
    body = {"identity": vehicle().pk, "purpose": CONTRACT, "slot": EMAID, "path": "hubject", "reason": "test"}
    headers = {"Idempotency-Key": "start-1"}

    first = api.post("/api/v1/provisioning-cases", body, format="json", headers=headers)
    second = api.post("/api/v1/provisioning-cases", body, format="json", headers=headers)

    assert first.json() == second.json()
    assert ProvisioningCase.objects.count() == 1


def test_a_revocation_without_a_case_is_recorded_over_the_api(api: APIClient, clock: Clock) -> None:
    activated(clock)
    record = CertificateRecord.objects.get()
    answer = post(
        api,
        "provisioning-evidence",
        certificate_record=record.pk,
        system="status",
        kind="certificate_status",
        outcome="revoked",
    )

    assert answer.status_code == 201
    record.refresh_from_db()
    assert record.state == "revoked"
    refused = post(api, "provisioning-evidence", system="status", kind="certificate_status", outcome="revoked")
    assert "either the case that it is about, or the certificate record" in refused.json()["detail"]


def test_decisions_are_made_and_read_over_the_api(api: APIClient) -> None:
    made = post(api, "ownership-decisions", purpose="vehicle_vas_identity", our_role="issuer")
    assert made.status_code == 201
    assert "support owner" in made.json()["missing"]
    assert made.json()["mode"] == "managed"
    contradiction = post(api, "ownership-decisions", **{**DECIDED, "our_role": "issuer", "program": "north"})
    assert (contradiction.status_code, contradiction.json()["code"]) == (422, "invalid_input")

    rows = api.get("/api/v1/ownership-decisions/matrix").json()

    assert {row["title"]: row["missing"] for row in rows}["ISO 15118 contract, every other program"] == []


# -- command line ----------------------------------------------------------------------------------------------------


def run(*args: str) -> tuple[str, str]:
    out, errors = StringIO(), StringIO()
    call_command("provisioning", *args, stdout=out, stderr=errors)
    return out.getvalue(), errors.getvalue()


BY = ("--as", "maria", "--reason", "test")
WHAT = ("--purpose", CONTRACT, "--path", "hubject")


def test_a_file_of_vehicles_is_started_and_whoever_cannot_be_keeps_nobody_waiting(maria: User, tmp_path: Path) -> None:
    vehicle("WAUZZZ1")
    vehicle("WAUZZZ2")
    file = tmp_path / "vehicles.csv"
    file.write_text(
        f"identifier,slot,pcid\nWAUZZZ1,{EMAID},{PCID}\nWAUZZZ9,{EMAID},\nWAUZZZ2,nonsense,\nWAUZZZ2,{EMAID},\n"
    )

    out, errors = run("start", "--file", str(file), *WHAT, *BY)

    assert "2 cases started, 2 refused." in out
    assert "WAUZZZ9: There is no identity 'WAUZZZ9'." in errors
    assert "WAUZZZ2: 'nonsense' is no EMAID" in errors
    assert ProvisioningCase.objects.count() == 2


def test_a_cohort_is_started_and_says_how_it_stands(maria: User, clock: Clock) -> None:
    cohort = given.cohort(name="Vans")
    cohort.members.add(vehicle("WAUZZZ1", pilot=True))

    run("start", "--cohort", "Vans", "--purpose", "iso15118_oem_provisioning", "--path", "oem", *BY)

    assert "WAUZZZ1: prerequisites." in run("status")[0]
    case = ProvisioningCase.objects.get()
    answer, _ = run("why", "WAUZZZ1")
    assert "[ ] manufacturer_agreed: Nobody has confirmed it yet." in answer
    run("confirm", str(case.pk), "--prerequisite", "manufacturer_agreed", *BY)
    assert "[ ] authority_known" in run("why", "WAUZZZ1")[0]
    assert f"Case {case.pk} is cancelled" in run("cancel", str(case.pk), *BY)[0]
    assert "Cancelled by maria: test" in run("why", str(case.pk))[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("start", *WHAT, *BY), "Say for whom"),
        (("start", "--cohort", "Nobody", *WHAT, *BY), "There is no cohort 'Nobody'"),
        (("start", "--cohort", "Nobody", *WHAT), "There is no user ''"),
        (("start", "--file", "/nowhere", *WHAT, *BY), "cannot be read"),
        (("why", "WAUZZZ1"), "There is no provisioning case 'WAUZZZ1'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(maria: User, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(*arguments)


def test_the_matrix_is_printed_on_the_command_line(maria: User) -> None:
    assert AUTHORITY in run("matrix")[0]


def test_evidence_and_references_are_kept_once(api: APIClient, clock: Clock) -> None:
    case = in_delivery(clock)
    body = {
        "case": case.pk,
        "system": "hubject",
        "kind": "request",
        "outcome": "in_progress",
        "reference": "C-1",
        "reference_kind": "contract",
        "dedupe_key": "webhook:7",
    }

    first, second = (post(api, "provisioning-evidence", **body) for _ in range(2))

    assert first.json()["id"] == second.json()["id"]
    assert (ProvisioningEvidence.objects.count(), ExternalReference.objects.count()) == (1, 1)
