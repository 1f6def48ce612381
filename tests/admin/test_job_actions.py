"""Jobs in the console: hastened, cancelled, and started again where that makes sense."""

from html import unescape
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inventory.audit import attributed
from inventory.choices import JobAction, JobState
from inventory.jobs import engine
from inventory.models import CertificateJob, ManagedIdentity
from tests.admin import given
from tests.admin.acting import REASON, address, do, hidden, told
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db


def test_a_job_is_hastened_and_cancelled(console: Client) -> None:
    job = given.job(charger())

    told(console, do(console, job, "run_now"))
    told(console, do(console, job, "cancel"))

    job.refresh_from_db()
    assert (job.state, job.outcome) == (JobState.CANCELLED, f"Cancelled by person:maria: {REASON}")
    assert "The job has ended (cancelled)" in unescape(console.get(address(job, "cancel")).content.decode())


def ended(job: CertificateJob, state: str = JobState.FAILED) -> CertificateJob:
    with transaction.atomic(), attributed(OPERATOR, "given"):
        engine.finish(job, state, "The station did not answer.", timezone.now())
    return job


def test_a_failed_job_is_started_again_by_a_new_one_with_a_reason(console: Client) -> None:
    failed = ended(given.job(charger("CS-1")))
    page = reverse("admin:inventory_certificatejob_change", args=[failed.pk])
    assert address(failed, "start_again") in console.get(page).content.decode()

    said = told(console, do(console, failed, "start_again"))

    job = CertificateJob.objects.latest("id")
    assert job.pk != failed.pk
    assert f">Job {job.pk}</a> does the same work anew for CS-1." in said
    assert f'href="{reverse("admin:inventory_certificatejob_change", args=[job.pk])}"' in said
    assert (job.action, job.actor, job.reason) == (JobAction.ISSUE, "person:maria", REASON)
    assert f"Not now: Job {job.pk} works on this for CS-1 already." in said
    failed.refresh_from_db()
    assert failed.state == JobState.FAILED


def test_each_kind_of_work_is_started_again_by_its_own_command(console: Client) -> None:
    renewed, delivered, moved = charger("CS-1"), charger("CS-2"), charger("CS-3")
    given.active_record(moved)
    ManagedIdentity.objects.filter(pk=moved.pk).update(security_profile=2)
    active, installed = given.active_record(renewed), given.active_record(delivered, state="issued", evidence_kind=None)
    jobs = [
        given.job(renewed, action=JobAction.RENEW, parameters={"replaces": active.pk}),
        given.job(delivered, action=JobAction.INSTALL, step="deliver", record=installed, target=f"x:{installed.pk}"),
        given.job(moved, action=JobAction.CUT_OVER, step="send_network_profile"),
    ]

    for job in jobs:
        told(console, do(console, ended(job), "start_again"))
        assert CertificateJob.objects.latest("id").action == job.action


@pytest.mark.parametrize(
    ("state", "options", "why"),
    [
        (JobState.SUCCEEDED, {}, "The job has succeeded."),
        (JobState.FAILED, {"action": JobAction.REVOKE}, "see to it that its CA revokes it, too"),
        (JobState.FAILED, {"action": JobAction.RENEW}, "is not known any more; issue a new one"),
    ],
)
def test_what_makes_no_sense_to_start_again_is_not_offered(
    state: str, options: dict[str, Any], why: str, console: Client
) -> None:
    job = ended(given.job(charger(), **options), state)

    page = unescape(console.get(address(job, "start_again")).content.decode())

    assert why in page
    assert 'data-testid="confirm"' not in page


def test_a_failed_job_is_started_again_only_by_whoever_may_give_its_command() -> None:
    job = ended(given.job(charger("CS-1")))
    client = Client()
    client.force_login(given.person("viewer", *given.view_permissions(), "inventory.retry_certificatejob"))

    page = unescape(client.get(address(job, "start_again")).content.decode())

    assert "You lack the permission “issue_certificaterecord”." in page
    assert client.post(address(job, "start_again"), {"reason": REASON, "idempotency_key": "k"}).status_code in (
        403,
        412,
    )
    assert CertificateJob.objects.count() == 1


def test_a_job_that_only_took_another_attempt_is_still_the_one_that_was_seen(console: Client) -> None:
    job = given.job(charger())
    url = address(job, "cancel")
    form = {"reason": REASON, **hidden(console.get(url))}
    with attributed(OPERATOR, "worker"):
        CertificateJob.objects.filter(pk=job.pk).update(attempts=3)

    assert console.post(url, form).status_code == 302


def test_the_sentence_of_an_action_leads_to_the_job_that_it_names(console: Client) -> None:
    job = given.job(charger("CS-1"))
    page = told(console, do(console, job, "run_now", reason=REASON))
    assert (
        f'href="{reverse("admin:inventory_certificatejob_change", args=[job.pk])}">Job {job.pk}</a> is taken up' in page
    )
