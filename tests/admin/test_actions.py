"""Actions in the console: what a page says beforehand, what is done, by whom and why, and what is refused."""

import re
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from bfcerts.ocpp.models import OutboxCommand
from inventory.admin.actions import ActionsMixin
from inventory.choices import JobAction, RecordState
from inventory.models import CertificateJob, CertificateRecord, Cohort, DomainEvent, ManagedIdentity
from inventory.services import lifecycle
from migration.models import AuthorizationKey
from tests.admin import given
from tests.admin.acting import REASON, address, do, hidden, told
from tests.support import OPERATOR, charger, request_for

pytestmark = pytest.mark.django_db


def test_the_page_of_an_action_says_what_will_happen_to_whom_and_does_nothing(console: Client) -> None:
    record = given.active_record(charger("CS-1"))

    response = console.get(address(record, "revoke"))

    page = unescape(response.content.decode())
    assert response.status_code == 200
    assert "Say why you do this." not in page
    assert "CS-1 is thrown off at once" in page
    assert "This cannot be undone" in page
    assert record.serial_number in page
    assert "CS-1 (Charger)" in page
    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE


@pytest.mark.parametrize(
    ("model", "verb"),
    [
        (model, verb.name)
        for model, page in admin.site._registry.items()
        if isinstance(page, ActionsMixin)
        for verb in page.verbs
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_no_action_is_done_by_a_get_or_without_a_reason(model: type[Model], verb: str, console: Client) -> None:
    target = given.MAKERS[model]()
    url = address(target, verb)
    events, commands, jobs = DomainEvent.objects.count(), OutboxCommand.objects.count(), CertificateJob.objects.count()

    opened = console.get(url, {"reason": REASON, "idempotency_key": "k"})
    if opened.status_code == 404:
        assert verb == "enable"
        return
    sent = console.post(url, {"reason": "  ", "idempotency_key": "k"})

    assert sent.status_code == 400
    page = sent.content.decode()
    assert "Say why you do this." in page or 'data-testid="why-not"' in page
    assert (events, commands, jobs) == (
        DomainEvent.objects.count(),
        OutboxCommand.objects.count(),
        CertificateJob.objects.count(),
    )


def test_a_revocation_is_done_and_attributed_to_the_person_and_the_reason(console: Client) -> None:
    record = given.active_record(charger("CS-1"))

    response = do(console, record, "revoke", revocation_reason="keyCompromise")

    assert "Revoked the Charger identity certificate of CS-1" in told(console, response)
    record.refresh_from_db()
    assert (record.state, record.revocation_reason) == (RecordState.REVOKED, "keyCompromise")
    row = record.history.latest()
    assert (row.actor, row.history_change_reason, row.history_user.username) == ("person:maria", REASON, "maria")
    event = DomainEvent.objects.get(type="CertificateRevoked")
    assert (event.actor, event.reason) == ("person:maria", REASON)


def test_every_verb_of_a_certificate_moves_it(console: Client) -> None:
    identity = charger()
    record = given.active_record(identity)

    assert "renews" in told(console, do(console, record, "renew"))
    assert CertificateJob.objects.get(action=JobAction.RENEW).reason == REASON
    told(console, do(console, record, "deactivate", force="on"))
    record.refresh_from_db()
    assert record.state == RecordState.INACTIVE
    told(console, do(console, record, "reactivate"))
    record.refresh_from_db()
    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION
    told(console, do(console, record, "install"))
    assert CertificateJob.objects.filter(action=JobAction.INSTALL, record=record).exists()
    told(console, do(console, record, "revoke", revocation_reason="superseded"))
    told(console, do(console, record, "delete"))
    record.refresh_from_db()
    assert record.state == RecordState.DELETED


def test_a_refusal_shows_the_services_sentence_and_keeps_what_was_typed(console: Client) -> None:
    record = given.active_record(charger("CS-1"))

    response = do(console, record, "deactivate")

    page = unescape(response.content.decode())
    assert response.status_code == 409
    assert "would leave CS-1 without a working certificate" in page
    assert REASON in page
    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE


def test_a_form_sent_twice_has_its_effect_once(console: Client) -> None:
    identity = charger("CS-1")
    url = address(identity, "reset")
    form = {"reason": REASON, "kind": "OnIdle", **hidden(console.get(url))}

    first, second = console.post(url, form), console.post(url, form)

    assert first.status_code == 302
    assert "This was already done: Command" in told(console, second)
    assert OutboxCommand.objects.count() == 1


def test_a_form_whose_object_changed_meanwhile_is_not_carried_out(console: Client) -> None:
    record = given.active_record(charger("CS-1"))
    url = address(record, "revoke")
    form = {"reason": REASON, "revocation_reason": "unspecified", **hidden(console.get(url))}
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="Meanwhile", force=True)

    stale = console.post(url, form)

    page = unescape(stale.content.decode())
    assert stale.status_code == 412
    assert "Nothing was done: it was changed while you had this page open." in page
    assert "Test operator changed it at" in page
    assert "saying “Meanwhile”" in page
    assert f'href="{url}" data-testid="anew"' in page
    assert "press “Revoke” below" in page
    assert 'data-testid="confirm"' in page
    assert "Inactive" in page
    record.refresh_from_db()
    assert record.state == RecordState.INACTIVE
    again = console.post(url, {**form, **hidden(stale)})
    assert again.status_code == 302
    record.refresh_from_db()
    assert record.state == RecordState.REVOKED


def test_a_form_that_came_too_late_says_so_and_names_no_button_that_is_not_there(console: Client) -> None:
    record = given.active_record(charger("CS-1"))
    url = address(record, "deactivate")
    form = {"reason": REASON, "force": "on", **hidden(console.get(url))}
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="Meanwhile", force=True)

    page = unescape(console.post(url, form).content.decode())

    assert "As it is now, this is not possible any more." in page
    assert "press “" not in page
    assert 'data-testid="confirm"' not in page
    assert f'href="{url}" data-testid="anew"' in page
    assert "Not now: Only possible while it is active." in page


def test_an_action_that_is_not_possible_now_says_why_and_has_no_button(console: Client) -> None:
    record = given.active_record(charger("CS-1"))
    page = unescape(console.get(reverse("admin:inventory_certificaterecord_change", args=[record.pk])).content.decode())
    assert "Not now: Only possible while it is inactive." in page
    assert f'href="{address(record, "reactivate")}"' not in page
    assert f'href="{address(record, "revoke")}"' in page

    action = unescape(console.get(address(record, "reactivate")).content.decode())

    assert "Not now: Only possible while it is inactive." in action
    assert 'data-testid="confirm"' not in action


def test_a_form_of_another_site_is_not_accepted(maria: Any) -> None:
    record = given.active_record(charger())
    client = Client(enforce_csrf_checks=True)
    client.force_login(maria)

    response = client.post(address(record, "revoke"), {"reason": REASON, "idempotency_key": "k"})

    assert response.status_code == 403
    assert "The form could not be accepted" in response.content.decode()
    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE


def test_a_certificate_is_issued_from_a_request_that_the_operator_has(console: Client) -> None:
    identity = charger("CS-1")

    response = do(console, identity, "issue", purpose="charger_identity", csr_pem=request_for("CS-1"))

    job = CertificateJob.objects.get()
    assert f">Job {job.pk}</a> works on the Charger identity certificate of CS-1." in told(console, response)
    assert CertificateRecord.objects.get().state == RecordState.REQUESTED
    assert (job.actor, job.reason) == ("person:maria", REASON)


def test_a_request_for_somebody_else_is_refused_with_the_reason(console: Client) -> None:
    response = do(console, charger("CS-1"), "issue", purpose="charger_identity", csr_pem=request_for("CS-2"))

    assert response.status_code == 422
    page = unescape(response.content.decode())
    of_the_field = page.split('id="id_csr_pem_error"')[1].split('id="id_reason"')[0]
    assert "“CS-2” does not name CS-1" in of_the_field
    assert re.search(r'<textarea[^>]*aria-invalid="true"[^>]*id="id_csr_pem"', page)
    assert REASON in page
    assert not CertificateJob.objects.exists()


def test_commands_to_a_station_are_put_into_its_outbox(console: Client) -> None:
    identity = charger("CS-1")
    given.authority(issues=True)

    for verb, action in (
        ("request_csr", "request_csr"),
        ("list_certificates", "list_certificates"),
        ("install_trust_anchors", "install_certificate"),
    ):
        assert "waits for CS-1" in told(console, do(console, identity, verb))
        assert OutboxCommand.objects.latest("id").action == action
    assert "asked for its security log" in told(console, do(console, identity, "fetch_security_log"))
    assert OutboxCommand.objects.latest("id").action == "get_log"


def test_a_charger_is_cut_over_by_a_job(console: Client) -> None:
    identity = charger("CS-1")
    given.active_record(identity)
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=2)

    assert "cuts CS-1 over to Profile 3" in told(console, do(console, identity, "cut_over"))
    assert CertificateJob.objects.get(action=JobAction.CUT_OVER).actor == "person:maria"


def test_an_identity_is_disabled_and_enabled_again(console: Client) -> None:
    identity = charger("CS-1")

    told(console, do(console, identity, "disable"))
    identity.refresh_from_db()
    assert not identity.enabled
    assert identity.history.latest().history_change_reason == REASON
    told(console, do(console, identity, "enable"))
    identity.refresh_from_db()
    assert identity.enabled


def test_an_authorization_key_is_set_and_revoked_and_never_shown(console: Client) -> None:
    identity = charger("CS-1")
    secret = "a-secret-of-cs-1-0123"

    page = told(console, do(console, identity, "set_password", secret=secret, source="set"))
    key = AuthorizationKey.objects.get(identity=identity)
    assert "Key 1 of CS-1 is active." in page
    assert secret not in page
    refused = do(console, charger("CS-2"), "set_password", secret=secret, source="set")
    assert refused.status_code == 422
    assert secret not in refused.content.decode()

    assert do(console, key, "revoke").status_code == 409
    told(console, do(console, key, "revoke", force="on"))
    key.refresh_from_db()
    assert key.state == AuthorizationKey.State.REVOKED


def test_members_of_a_cohort_are_added_and_removed_by_identifier(console: Client) -> None:
    first, second = charger("CS-1"), charger("CS-2")
    cohort = given.cohort(name="Pilot")

    page = told(console, do(console, cohort, "add_members", identifiers="CS-1\n CS-2 \n\n"))
    assert "2 identities added to Pilot." in page
    assert set(cohort.members.all()) == {first, second}
    assert "added CS-1, CS-2" in cohort.history.latest().history_change_reason
    told(console, do(console, cohort, "remove_members", identifiers="CS-1"))
    assert set(cohort.members.all()) == {second}

    unknown = do(console, cohort, "add_members", identifiers="CS-1\nCS-9")
    assert "no identity with the identifier CS-9" in unknown.content.decode()
    assert set(Cohort.objects.get(pk=cohort.pk).members.all()) == {second}


def test_an_unknown_verb_and_an_unknown_object_are_not_found(console: Client) -> None:
    record = given.active_record(charger())

    assert console.get(address(record, "explode")).status_code == 404
    for number in ("999999", "9" * 30, "x"):
        assert console.get(f"/admin/inventory/certificaterecord/{number}/do/revoke/").status_code in (302, 404)
