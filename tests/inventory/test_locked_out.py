"""A charger that is locked out cannot be asked: its request comes from the site, and its certificate goes there."""

from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from inventory.errors import TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import lifecycle
from tests.admin import given
from tests.support import OPERATOR, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db


def locked_out() -> ManagedIdentity:
    identity = charger("CS-1")
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=3)
    identity.refresh_from_db()
    return identity


def test_no_certificate_is_issued_without_a_request_from_the_site(plane: ControlPlane) -> None:
    identity = locked_out()

    with pytest.raises(TransitionRefusedError, match="CS-1 is locked out and cannot be asked for a request"):
        lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="x", now=plane.clock())

    assert not CertificateJob.objects.exists()


def test_the_form_needs_the_request(plane: ControlPlane) -> None:
    identity = locked_out()
    client = Client()
    client.force_login(given.administrator())
    url = reverse("admin:inventory_managedidentity_do", args=[identity.pk, "issue"])
    version = client.get(url).context["version"]

    answer = client.post(
        url,
        {
            "reason": "x",
            "purpose": "charger_identity",
            "csr_pem": "",
            "idempotency_key": "one",
            "version": version,
        },
    )

    page = unescape(answer.content.decode())
    assert answer.status_code == 400
    assert 'id="id_csr_pem_error"' in page
    assert "PEM, taken on site: it is locked out and cannot be asked for one." in page
    assert not CertificateJob.objects.exists()


def worked_on(plane: ControlPlane, identity: ManagedIdentity) -> CertificateJob:
    """The job of a request that was taken on site, as far as it comes by itself."""
    job = lifecycle.issue(
        identity=identity,
        purpose="charger_identity",
        csr_pem=request_for("CS-1"),
        actor=OPERATOR,
        reason="x",
        now=plane.clock(),
    )
    plane.work()
    job.refresh_from_db()
    return job


def test_its_job_waits_for_somebody_on_site(plane: ControlPlane) -> None:
    identity = locked_out()
    job = worked_on(plane, identity)

    record = CertificateRecord.objects.get()
    assert job.waiting_for == (
        f"somebody to install it on site: download certificate {record.pk} with its chain from its page"
    )


def test_a_charger_that_can_be_reached_is_waited_for(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = worked_on(plane, identity)

    assert job.waiting_for == "the station to accept the certificate"
