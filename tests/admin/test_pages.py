"""The pages of identities, certificates and jobs: what they show, in which words, and what they cost."""

from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from inventory.audit import attributed
from inventory.choices import JobState, JobStep, SystemPart
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import identities, lifecycle
from inventory.words import event_words, in_words
from tests.admin import given
from tests.migration import given as moving
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db


def page_of(target: Model) -> str:
    return reverse(f"admin:{target._meta.app_label}_{target._meta.model_name}_change", args=[target.pk])


def shown(console: Client, target: Model) -> str:
    response = console.get(page_of(target))
    assert response.status_code == 200
    return unescape(response.content.decode())


def cost(console: Client, target: Model) -> int:
    with CaptureQueriesContext(connection) as queries:
        shown(console, target)
    return len(queries)


def busy(identity: ManagedIdentity, times: int) -> None:
    """Something of everything that a page shows, several times."""
    now = datetime.now(UTC)
    record = CertificateRecord.objects.filter(identity=identity, state="active").first()
    for _ in range(times):
        given.domain_event(identity, record=record)
        given.security_event(identity)
        given.command(identity)
        given.session(identity, closed_at=now, connected_at=now - timedelta(hours=1))
        with attributed(OPERATOR, "given"):
            CertificateJob.objects.create(
                action="command",
                identity=identity,
                purpose="charger_identity",
                record=record,
                target=uuid4().hex,
                state=JobState.SUCCEEDED,
                step="x",
                actor="system:x",
                reason="x",
                correlation_id="x",
                idempotency_key=uuid4().hex,
                next_run_at=now,
                created_at=now,
                finished_at=now,
                outcome="Done.",
            )
        if record is not None:
            record.evidence.create(kind="mtls_connection", observed_at=now, source="x", dedupe_key=uuid4().hex)
            with attributed(OPERATOR, "given"):
                record.save()


def test_the_page_of_an_identity_shows_all_that_concerns_it(console: Client) -> None:
    identity = given.identity(authoritative_identifier="CS-1", name="North bay", site="Depot North")
    record = given.active_record(identity)
    given.session(identity, certificate_fingerprint=record.fingerprint, address="10.9.8.7")
    waiting = given.job(identity)
    until = datetime.now(UTC) + timedelta(hours=1)
    CertificateJob.objects.filter(pk=waiting.pk).update(
        state="waiting", waiting_for="a request from the station", waiting_until=until
    )
    given.command(identity, state="answered", outcome="rejected", error_description="Not supported")
    given.security_event(identity, message="It sent a request for somebody else.")
    moving.authorization_key(identity)

    page = shown(console, identity)

    assert "Connected on Profile 3" in page
    assert "10.9.8.7" in page
    assert f"certificate {record.pk}</a>" in page
    assert f'data-copy="{record.fingerprint}"' in page
    assert "ends in 99 days" in page
    assert f"waits for a request from the station, until {until:%Y-%m-%d %H:%M} UTC" in page
    assert "The station answered: rejected (Not supported)" in page
    assert "It sent a request for somebody else." in page
    assert "Certificate activated" in page
    assert "Version 1" in page
    assert "Depot North" in page


def test_an_identity_that_never_connected_says_what_to_check(console: Client) -> None:
    page = shown(console, charger())

    assert "It has never connected." in page
    assert "It holds no certificate yet." in page
    assert "Nothing has been worked on yet." in page


def test_a_session_that_ended_says_when_and_why(console: Client) -> None:
    identity = charger()
    given.session(identity, security_profile=2, closed_at=datetime.now(UTC), close_reason="the certificate was revoked")

    assert "the certificate was revoked" in shown(console, identity)


@pytest.mark.parametrize("kind", ["identity", "record", "job"])
def test_a_page_costs_the_same_however_much_has_happened(kind: str, console: Client) -> None:
    identity = charger()
    record = given.active_record(identity)
    target: Model = {"identity": identity, "record": record, "job": given.job(identity)}[kind]
    busy(identity, 3)
    few = cost(console, target)

    busy(identity, 20)

    assert cost(console, target) <= few <= {"identity": 27, "record": 14, "job": 9}[kind]


@pytest.mark.parametrize("kind", ["index", "identity", "record", "job"])
def test_a_page_refreshes_the_part_that_lives(kind: str, console: Client) -> None:
    identity = charger("CS-1")
    record = given.active_record(identity)
    url = {
        "index": reverse("admin:index"),
        "identity": page_of(identity),
        "record": page_of(record),
        "job": page_of(given.job(identity)),
    }[kind]
    whole = console.get(url)
    assert 'data-live data-testid="live"' in whole.content.decode()

    part = console.get(url, headers={"X-Live": "fragment"})

    assert part.content.decode().startswith("<!--live-->")
    assert "<html" not in part.content.decode()
    assert "<h" in part.content.decode()
    assert "no-store" in part.headers["Cache-Control"]


def test_a_refresh_after_signing_out_is_not_taken_for_the_page(console: Client) -> None:
    url = page_of(charger())
    console.logout()

    answer = console.get(url, headers={"X-Live": "fragment"})

    assert answer.status_code == 302
    assert "<!--live-->" not in console.get(answer.headers["Location"]).content.decode()


def test_an_operator_sees_a_revocation_on_the_next_refresh(console: Client) -> None:
    identity = charger()
    record = given.active_record(identity)
    live = {"X-Live": "fragment"}
    assert 'data-state="active"' in console.get(page_of(identity), headers=live).content.decode()

    lifecycle.revoke(record=record, actor=OPERATOR, reason="Broken into")

    after = console.get(page_of(identity), headers=live).content.decode()
    assert 'data-state="revoked"' in after
    assert "Certificate revoked" in after


def test_the_page_of_a_certificate_shows_its_life_evidence_history_and_policy(console: Client) -> None:
    identity = charger("CS-1", family=given.family(name="Fast ones"))
    record = given.active_record(identity)
    given.policy(name="Fast ones, 60 days", family=identity.family, program="", validity=timedelta(days=60))
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="Cabinet was opened", force=True)

    page = shown(console, record)

    assert record.fingerprint in page
    assert "Somebody" in page
    assert "Mutual-TLS connection with this certificate" in page
    assert "made it active" in page
    assert "Fast ones, 60 days" in page
    assert "won, the narrowest" in page
    assert "Charger identity, default" in page
    assert "Test operator" in page
    assert "Cabinet was opened" in page
    assert "Inactive" in page


def test_a_certificate_and_its_chain_are_downloaded_as_pem(console: Client) -> None:
    chain = given.certificate_for("Issuing CA")
    record = given.active_record(charger(), chain_pem=chain)

    leaf = console.get(reverse("admin:inventory_certificaterecord_certificate", args=[record.pk]))
    full = console.get(reverse("admin:inventory_certificaterecord_chain", args=[record.pk]))

    assert leaf.content.decode() == record.certificate_pem
    assert full.content.decode().count("BEGIN CERTIFICATE") == 2
    assert leaf.headers["Content-Disposition"] == f'attachment; filename="certificate-{record.pk}.pem"'
    assert leaf.headers["Content-Type"] == "application/x-pem-file"


def test_the_history_says_what_changed_by_whom_and_why(console: Client) -> None:
    identity = charger("CS-1")
    identities.update(
        identity=identity,
        changes={"site": "Depot South", "family": given.family(name="New ones")},
        actor=OPERATOR,
        reason="Moved",
    )

    page = unescape(
        console.get(reverse("admin:inventory_managedidentity_history", args=[identity.pk])).content.decode()
    )

    assert "Moved" in page
    assert "Test operator" in page
    assert "Depot South" in page
    assert "New ones" in page


def test_a_long_history_goes_on_by_key_and_costs_the_same(console: Client) -> None:
    identity = charger()
    for n in range(60):
        identities.update(identity=identity, changes={"name": f"Name {n}"}, actor=OPERATOR, reason=f"Reason {n}.")
    url = reverse("admin:inventory_managedidentity_history", args=[identity.pk])

    first = unescape(console.get(url).content.decode())
    assert "Reason 59." in first
    assert "Reason 9." not in first
    older = first.split('rel="next"')[0].rsplit('href="', 1)[1].rstrip('" ')

    second = unescape(console.get(url + older).content.decode())
    assert "Reason 9." in second
    assert "Reason 10." not in second


def test_text_from_the_wire_is_shown_and_never_obeyed(console: Client) -> None:
    evil = "<script>alert(1)</script>"
    identity = given.identity(name=evil, site=evil)
    ManagedIdentity.objects.filter(pk=identity.pk).update(authoritative_identifier=evil)
    identity.refresh_from_db()
    given.job(identity)
    given.security_event(identity, message=evil, type=evil, technical_detail=evil)
    given.domain_event(identity, reason=evil, payload={"x": evil})
    given.session(identity, close_reason=evil, closed_at=datetime.now(UTC), node=evil)
    given.command(identity, error_description=evil, state="failed", answer={"x": evil})

    for url in (
        page_of(identity),
        "/admin/",
        "/admin/inventory/securityevent/",
        "/admin/inventory/managedidentity/",
        "/admin/inventory/certificatejob/",
    ):
        assert evil not in console.get(url).content.decode()
    for model in ("securityevent", "domainevent"):
        latest = console.get(f"/admin/inventory/{model}/").context["cl"].result_list[0]
        assert evil not in console.get(page_of(latest)).content.decode()


def test_a_rejected_request_is_shown_with_what_was_wrong_with_it(console: Client) -> None:
    identity = charger("CS-1")
    given.domain_event(identity, type="CSRRejected", reason="new charger", payload={"detail": "it names CS-2"})

    assert "it names CS-2" in shown(console, identity)


def test_codes_are_said_in_words(console: Client) -> None:
    identity = charger("CS-1")
    job = given.job(identity, step=JobStep.AWAIT_CSR)
    CertificateJob.objects.filter(pk=job.pk).update(
        actor="system:first-look", outcome="Step await_csr ended unexpectedly; cancelled by person:maria."
    )
    given.domain_event(identity, actor="system:renewal", resulting_state="installed_pending_activation")
    listing = reverse("admin:inventory_domainevent_changelist")

    pages = {url: unescape(console.get(url).content.decode()) for url in (page_of(job), page_of(identity), listing)}

    assert JobStep.AWAIT_CSR.label in pages[page_of(job)]
    assert SystemPart.FIRST_LOOK.label in pages[page_of(job)]
    assert f"Step “{JobStep.AWAIT_CSR.label}” ended unexpectedly; cancelled by maria." in pages[page_of(job)]
    assert SystemPart.FIRST_LOOK.label in pages[page_of(identity)]
    assert SystemPart.RENEWAL.label in pages[page_of(identity)]
    assert "Installed, not yet seen in use" in pages[listing]
    for page in pages.values():
        for code in ("await_csr", "await csr", "system:", "person:", "installed_pending"):
            assert code not in page, code


def test_every_step_that_the_engine_knows_has_its_words() -> None:
    known = {*engine.known_local_steps(), *engine.known_external_steps()}
    assert {step for step in known if not step.startswith("test_")} == set(JobStep.values)


def test_the_navigation_says_where_one_is(console: Client) -> None:
    identity = charger("CS-1")
    listing = reverse("admin:inventory_managedidentity_changelist")

    assert 'href="/admin/" aria-current="page"' in console.get("/admin/").content.decode()
    assert f'href="{listing}" aria-current="page"' in console.get(listing).content.decode()
    assert f'href="{listing}" aria-current="true"' in console.get(page_of(identity)).content.decode()


def test_whoever_signs_out_is_told_what_that_means(console: Client) -> None:
    page = unescape(console.post("/admin/logout/").content.decode())

    assert "You are signed out" in page
    assert "quality time" not in page
    assert 'href="/admin/"' in page


def test_what_only_technicians_want_to_see_is_folded_away(console: Client) -> None:
    job = given.job(charger("CS-1"))
    with attributed(OPERATOR, "It goes on"):
        job.step, job.parameters, job.state = JobStep.AWAIT_CSR, {"csr_tries": 1}, JobState.RUNNING
        job.save()

    shown_at_once, _, folded = shown(console, job).partition("What changed")[2].partition("<summary>Technical details")

    assert JobStep.AWAIT_CSR.label in shown_at_once
    assert "Running" in shown_at_once
    assert "csr_tries" not in shown_at_once
    assert "csr_tries" in folded


def test_the_answer_to_a_command_is_said_without_its_code() -> None:
    assert in_words("Answer to deliver_certificate: Accepted") == "Answer to “Certificate sent”: Accepted"
    assert event_words("RevocationPropagated") == "Revocation confirmed by the CA"
    assert event_words("SignInFailed") == "Sign in failed"
