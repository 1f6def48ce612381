"""The command line's door: the same functions, permissions and sentences as the admin and the API."""

from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from inventory.choices import RecordState
from inventory.models import CertificateJob, CertificateRecord, DomainEvent
from tests.support import ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("certificate", *arguments, "--reason", "by hand", stdout=output)
    return output.getvalue()


def test_a_person_issues_from_the_command_line_and_is_named_in_the_log(control_plane: ControlPlane) -> None:
    User.objects.create_superuser("maria")
    charger("CS-1")

    said = run("issue", "CS-1", "--as", "maria")

    job = CertificateJob.objects.get()
    assert said.startswith(f"Job {job.pk}: Issue Charger identity for CS-1")
    assert (job.actor, job.reason) == ("person:maria", "by hand")
    assert DomainEvent.objects.get(type="CertificateRequested").actor == "person:maria"


def test_a_request_in_a_file_is_issued_from_or_refused_with_the_sentence(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    User.objects.create_superuser("maria")
    charger("CS-1")
    good, bad = tmp_path / "good.csr", tmp_path / "bad.csr"
    good.write_text(request_for("CS-1"))
    bad.write_text(request_for("CS-2"))

    with pytest.raises(CommandError, match="“CS-2” does not name CS-1"):
        run("issue", "CS-1", "--as", "maria", "--csr", str(bad))
    assert not CertificateJob.objects.exists()
    with pytest.raises(CommandError, match="cannot be read: No such file or directory"):
        run("issue", "CS-1", "--as", "maria", "--csr", str(tmp_path / "none"))
    run("issue", "CS-1", "--as", "maria", "--csr", str(good))
    assert CertificateJob.objects.get().step == "issue"


def test_without_the_permission_it_says_which_one_is_missing(control_plane: ControlPlane) -> None:
    User.objects.create_user("visitor")
    record = control_plane.enrol(charger("CS-1"))

    with pytest.raises(CommandError, match=r"visitor may not do this: the permission “inventory.revoke_cert"):
        run("revoke", str(record.pk), "--as", "visitor")

    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("revoke", "CS-9", "--as", "maria"), "There is no identity with the identifier 'CS-9'."),
        (("revoke", "CS-1", "--as", "maria"), "CS-1 has no active certificate for charger_identity"),
        (("issue", "CS-1", "--as", "nobody"), "There is no user 'nobody'"),
        (("issue", "CS-1", "--as", "maria", "--purpose", "firmware_signing"), "Firmware signing is a reserved"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    control_plane: ControlPlane, arguments: tuple[str, ...], sentence: str
) -> None:
    User.objects.create_superuser("maria")
    charger("CS-1")

    with pytest.raises(CommandError, match=sentence):
        run(*arguments)


def test_an_identity_stands_for_its_active_certificate(control_plane: ControlPlane) -> None:
    User.objects.create_superuser("maria")
    record = control_plane.enrol(charger("CS-1"))

    run("revoke", "CS-1", "--as", "maria", "--revocation-reason", "keyCompromise")

    revoked = CertificateRecord.objects.get(pk=record.pk)
    assert (revoked.state, revoked.revocation_reason) == (RecordState.REVOKED, "keyCompromise")
