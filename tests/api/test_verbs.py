"""The API's verbs: each calls its service, is attributed to who asked, and answers with what has become."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from bfcerts.ocpp.models import OutboxCommand
from inventory.choices import JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, Cohort, DomainEvent, ManagedIdentity
from migration.models import AuthorizationKey
from tests.admin import given
from tests.support import charger, request_for

pytestmark = pytest.mark.django_db
REASON = "The cabinet was opened"


def verb(api: APIClient, url: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = api.post(f"/api/v1/{url}", {"reason": REASON, **body})
    assert answer.status_code == status, answer.content
    document: dict[str, Any] = answer.json()
    return document


def test_an_identity_is_made(api: APIClient) -> None:
    made = api.post(
        "/api/v1/identities",
        {"kind": "charger", "authoritative_identifier": "CS-1", "site": "North", "tags": ["a"], "reason": REASON},
    )

    assert made.status_code == 201
    identity = ManagedIdentity.objects.get()
    assert made.headers["Location"] == f"/api/v1/identities/{identity.pk}"
    assert made.json() == {**api.get(made.headers["Location"]).json(), "hint": ""}
    row = identity.history.get()
    assert (row.actor, row.history_change_reason) == ("person:maria", REASON)


def test_an_identity_that_is_there_already_is_refused(api: APIClient) -> None:
    charger("CS-1")
    body = {"kind": "charger", "authoritative_identifier": "CS-1", "reason": REASON}

    answer = api.post("/api/v1/identities", body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_a_certificate_is_issued_renewed_delivered_and_revoked(api: APIClient) -> None:
    identity = charger("CS-1")
    job = verb(api, f"identities/{identity.pk}/issue", 202, purpose="charger_identity", csr_pem=request_for("CS-1"))
    assert (job["action"], job["actor"], job["reason"]) == ("issue", "person:maria", REASON)
    verb(api, f"certificate-jobs/{job['id']}/cancel")

    record = given.active_record(identity)
    url = f"certificate-records/{record.pk}"
    renewal = verb(api, f"{url}/renew", 202)
    assert renewal["action"] == "renew"
    verb(api, f"certificate-jobs/{renewal['id']}/cancel")
    assert verb(api, f"{url}/deactivate", force=True)["state"] == RecordState.INACTIVE
    assert verb(api, f"{url}/reactivate")["state"] == RecordState.INSTALLED_PENDING_ACTIVATION
    assert verb(api, f"{url}/install", 202)["action"] == "install"
    revoked = verb(api, f"{url}/revoke", revocation_reason="keyCompromise")
    assert (revoked["state"], revoked["revocation_reason"]) == (RecordState.REVOKED, "keyCompromise")
    assert verb(api, f"{url}/delete")["state"] == RecordState.DELETED
    event = DomainEvent.objects.get(type="CertificateRevoked")
    assert (event.actor, event.reason) == ("person:maria", REASON)


def test_a_certificate_of_others_is_registered_once_and_activated_on_evidence(api: APIClient) -> None:
    identity = charger("CS-1")
    body = {
        "identity": identity.pk,
        "purpose": "charger_identity",
        "certificate_pem": given.certificate_for("CS-1"),
        "state": "installed_pending_activation",
        "evidence_kind": "install_acknowledged",
    }

    first, second = verb(api, "certificate-records", 201, **body), verb(api, "certificate-records", 201, **body)

    assert first["id"] == second["id"]
    record = CertificateRecord.objects.get()
    evidence = given.seen_in_use(record)
    active = verb(api, f"certificate-records/{record.pk}/activate", evidence=evidence.pk)
    assert (active["state"], active["activation_evidence"]) == (RecordState.ACTIVE, evidence.pk)


def test_commands_are_put_into_the_outbox_of_the_station(api: APIClient) -> None:
    identity = charger("CS-1")
    given.authority(issues=True)
    url = f"identities/{identity.pk}"

    for name in ("request-csr", "list-certificates", "install-trust-anchors", "reset"):
        command = verb(api, f"{url}/{name}", 202)
        assert (command["station_id"], command["state"]) == ("CS-1", "queued")
        assert api.get(f"/api/v1/station-commands/{command['id']}").json() == command
    log = verb(api, f"{url}/fetch-security-log", 202)
    assert (log["identity"], log["state"]) == (identity.pk, "requested")
    assert api.get(f"/api/v1/station-logs/{log['id']}").json() == log
    assert verb(api, f"{url}/reset", 202, kind="Immediate")["payload"] == {"kind": "Immediate"}
    assert OutboxCommand.objects.count() == 6


def test_a_charger_is_cut_over_disabled_and_enabled(api: APIClient) -> None:
    identity = charger("CS-1")
    given.active_record(identity)
    ManagedIdentity.objects.update(security_profile=2)
    url = f"identities/{identity.pk}"

    assert verb(api, f"{url}/cut-over", 202)["action"] == "cut_over"
    assert verb(api, f"{url}/disable")["enabled"] is False
    assert verb(api, f"{url}/enable")["enabled"] is True


def test_a_job_is_hastened_and_cancelled(api: APIClient) -> None:
    job = given.job(charger())

    verb(api, f"certificate-jobs/{job.pk}/run-now")
    assert verb(api, f"certificate-jobs/{job.pk}/cancel")["state"] == JobState.CANCELLED
    again = api.post(f"/api/v1/certificate-jobs/{job.pk}/cancel", {"reason": REASON})
    assert (again.status_code, again.json()["code"]) == (409, "transition_refused")
    assert CertificateJob.objects.get().outcome == f"Cancelled by person:maria: {REASON}"


def test_a_failed_job_is_started_again(api: APIClient) -> None:
    job = given.job(charger())
    verb(api, f"certificate-jobs/{job.pk}/cancel")

    again = verb(api, f"certificate-jobs/{job.pk}/start-again", 202)

    assert (again["action"], again["actor"], again["reason"]) == ("issue", "person:maria", REASON)
    assert again["id"] != job.pk
    refused = api.post(f"/api/v1/certificate-jobs/{again['id']}/start-again", {"reason": REASON})
    assert (refused.status_code, refused.json()["detail"]) == (409, "The job is still open.")


def test_a_bad_request_is_refused_with_the_rule_and_opens_no_job(api: APIClient) -> None:
    identity = charger("CS-1")

    refused = verb(api, f"identities/{identity.pk}/issue", 422, purpose="charger_identity", csr_pem=request_for("CS-2"))

    assert (refused["code"], refused["reason_code"]) == ("csr_rejected", "identity_mismatch")
    assert "“CS-2” does not name CS-1" in refused["detail"]
    assert not CertificateJob.objects.exists()


def test_families_cohorts_and_policies_are_made(api: APIClient) -> None:
    family = verb(api, "charger-families", 201, name="Fast", vendor="V", model="M")
    cohort = verb(api, "cohorts", 201, name="North", kind="filter", filter={"site": "North"})
    policy = verb(
        api,
        "lifecycle-policies",
        201,
        name="Fast in the north",
        purpose="charger_identity",
        family=family["id"],
        cohort=cohort["id"],
        validity="P90D",
        renewal_threshold="P20D",
    )

    assert (policy["family"], policy["cohort"], policy["validity"]) == (family["id"], cohort["id"], "P90DT00H00M00S")
    wrong = api.post("/api/v1/cohorts", {"name": "X", "kind": "filter", "filter": {"planet": "Mars"}, "reason": "x"})
    assert wrong.json()["errors"][0]["pointer"] == "/filter"


def test_members_of_a_cohort_are_added_and_removed(api: APIClient) -> None:
    charger("CS-1")
    cohort = given.cohort()

    assert verb(api, f"cohorts/{cohort.pk}/add-members", identifiers=["CS-1"]) == {"identities": 1}
    assert Cohort.objects.get(pk=cohort.pk).members.count() == 1
    assert verb(api, f"cohorts/{cohort.pk}/remove-members", identifiers=["CS-1"]) == {"identities": 1}
    unknown = api.post(f"/api/v1/cohorts/{cohort.pk}/add-members", {"identifiers": ["CS-9"], "reason": "x"})
    assert (unknown.status_code, "CS-9" in unknown.json()["detail"]) == (422, True)


def test_an_authorization_key_is_set_taken_over_and_revoked(api: APIClient) -> None:
    first, second = charger("CS-1"), charger("CS-2")
    key = verb(api, "authorization-keys", 201, identity=first.pk, secret="secret-of-cs-1-0123")
    taken = verb(
        api,
        "authorization-keys/import",
        201,
        identity=second.pk,
        secret="secret-of-cs-2-0123",
        last_success_at="2026-01-02T03:04:05Z",
    )

    assert (key["version"], key["state"], key["source"]) == (1, "active", "set")
    assert (taken["source"], taken["last_success_at"]) == ("imported", "2026-01-02T03:04:05Z")
    assert "lock" in verb(api, f"authorization-keys/{key['id']}/revoke", 409)["detail"]
    assert verb(api, f"authorization-keys/{key['id']}/revoke", force=True)["state"] == "revoked"
    assert AuthorizationKey.objects.get(pk=key["id"]).history.latest().actor == "person:maria"
