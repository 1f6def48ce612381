"""One certificate, whatever answer of AWS Private CA was lost on its way."""

from datetime import timedelta

import pytest

from bfcerts.pki.authorities import RevocationReason
from inventory.choices import JobQueue, JobState
from inventory.jobs import engine
from inventory.models import (
    CertificateRecord,
    IssuanceIntent,
    PublicKeyOwner,
)
from inventory.services import issuance
from tests.acm_pca import AcmPcaServer
from tests.aws.installation import Installation
from tests.aws.lost_answers import REPORT, in_the_inventory, lose_the_answer, serials
from tests.support import charger, new_key, request_for

pytestmark = pytest.mark.django_db


# -- one certificate, whatever was lost ------------------------------------------------------------------------------


def test_a_lost_answer_is_found_in_the_audit_report(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)

    waited = installation.until_it_moves_on(job)

    assert (job.state, job.step) == (JobState.WAITING, "await_install"), job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.calls("IssueCertificate")) == len(aws.calls(REPORT)) == 1
    assert waited == [
        "the CA to be done with what it was asked for before its records are read",
        "the CA to make an audit report",
    ]


def test_what_the_ca_never_heard_of_is_asked_for_again(installation: Installation, aws: AcmPcaServer) -> None:
    aws.drop("IssueCertificate")
    job = installation.request(charger("CS-1"))
    installation.work()
    assert aws.issued == []
    installation.clock.advance(minutes=6)

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.calls(REPORT)) == 1
    assert len(aws.issued) == 1


def test_within_five_minutes_the_token_is_enough(installation: Installation, aws: AcmPcaServer) -> None:
    aws.lose_answer("IssueCertificate", times=3)
    job = installation.request(charger("CS-1"))

    installation.until_it_moves_on(job, most=timedelta(minutes=5))

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.issued) == 1
    assert len(aws.calls("IssueCertificate")) == 4
    assert aws.calls(REPORT) == []


def test_a_ca_that_loses_every_answer_issues_once_all_the_same(installation: Installation, aws: AcmPcaServer) -> None:
    aws.lose_answer("IssueCertificate", times=1000)
    job = installation.request(charger("CS-1"))

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.issued) == 1


def test_a_worker_that_died_at_the_ca_is_made_up_for(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job, gap=timedelta(seconds=30))
    engine.claim(queue=JobQueue.PKI, now=installation.clock(), limit=1, lease=timedelta(seconds=60))
    installation.clock.advance(minutes=6)

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.issued) == 1


def test_several_lost_answers_of_one_second_share_one_report(installation: Installation, aws: AcmPcaServer) -> None:
    """They have the same validity, so only their keys tell them apart."""
    jobs = [installation.request(charger(f"CS-{number}")) for number in range(5)]
    aws.lose_answer("IssueCertificate", times=5)
    installation.work()
    installation.clock.advance(minutes=6)

    installation.until_it_moves_on(*jobs)

    assert {job.step for job in jobs} == {"await_install"}
    assert len(aws.issued) == 5
    assert len(aws.calls(REPORT)) == 1
    issued_for = {leaf.serial_hex: leaf.certificate_pem for leaf in aws.issued}
    for job in jobs:
        record = CertificateRecord.objects.get(jobs=job)
        assert issued_for[record.serial_number] == record.certificate_pem
        assert f"CN={record.identity.authoritative_identifier}" in record.subject


def test_a_certificate_that_another_record_holds_is_not_taken_twice(
    installation: Installation, aws: AcmPcaServer
) -> None:
    """The same key and the same second, asked for by two identities in turn: the second gets one of its own."""
    key, second = new_key(), charger("CS-2")
    first = installation.request(charger("CS-1"), key)
    installation.work()
    held = CertificateRecord.objects.get()
    PublicKeyOwner.objects.update(identity=second)
    job = installation.request(second, key)
    aws.drop("IssueCertificate")
    installation.work()
    installation.clock.advance(minutes=6)

    installation.until_it_moves_on(job)

    first.refresh_from_db()
    assert (first.step, job.step) == ("await_install", "await_install"), job.outcome
    assert len(set(in_the_inventory())) == len(aws.issued) == 2
    assert CertificateRecord.objects.get(pk=held.pk).serial_number == held.serial_number


def test_a_certificate_that_somebody_revoked_by_hand_is_not_taken_up(
    installation: Installation, aws: AcmPcaServer
) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)
    (lost,) = aws.issued
    issuance.authority_for("charger_identity").revoke(lost.serial_hex, RevocationReason.SUPERSEDED)

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert in_the_inventory() == [aws.issued[1].serial_hex]


def test_what_is_found_is_still_being_signed(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)
    aws.answer_after(polls=3)

    waited = installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert waited.count("the CA to sign what it was asked for before") == 3
    assert serials(installation) == in_the_inventory()


def test_a_second_lost_answer_is_found_as_well(installation: Installation, aws: AcmPcaServer) -> None:
    """The first was lost on the way there, the second on the way back: each is looked up before the next."""
    aws.drop("IssueCertificate")
    job = installation.request(charger("CS-1"))
    installation.work()
    installation.clock.advance(minutes=6)
    aws.lose_answer("IssueCertificate", times=1000)

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.calls(REPORT)) == 2


# -- nothing is looked up that was never lost ------------------------------------------------------------------------


def test_a_clear_no_leaves_nothing_to_look_up_however_long_it_lasts(
    installation: Installation, aws: AcmPcaServer
) -> None:
    aws.throttle("IssueCertificate", times=200)
    job = installation.request(charger("CS-1"))

    waited = installation.until_it_moves_on(job)

    assert set(waited) == {"a free place in the CA's quota"}
    assert job.step == "await_install", job.outcome
    assert len(aws.issued) == 1
    assert aws.calls(REPORT) == []


@pytest.mark.parametrize("hours", [1, 30])
def test_a_ca_that_could_not_be_reached_was_never_asked(
    installation: Installation, aws: AcmPcaServer, hours: int
) -> None:
    installation.request(warmed_up := charger("CS-0"))
    installation.work()
    job = installation.request(charger("CS-1"))
    with aws.unreachable():
        ends = installation.clock() + timedelta(hours=hours)
        while installation.clock() < ends:
            installation.work()
            job.refresh_from_db()
            assert job.waiting_for.startswith("the CA to be reachable: "), job.outcome
            assert IssuanceIntent.objects.get(job=job).submitted_at is None
            installation.clock.now = job.next_run_at

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert len(aws.issued) == 2
    assert aws.calls(REPORT) == []
    assert warmed_up.pk


def test_a_newer_request_need_not_wait_for_one_that_the_ca_refused_to_take(
    installation: Installation, aws: AcmPcaServer
) -> None:
    identity = charger("CS-1")
    aws.throttle("IssueCertificate")
    job = installation.request(identity)
    installation.work()

    newest = new_key()
    installation.send_csr(identity, request_for("CS-1", newest))
    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert "newer_csr" not in job.parameters
    assert len(aws.issued) == 1
