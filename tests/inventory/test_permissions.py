"""One permission for each verb: whoever lacks it is refused with the same sentence, whatever else they may do."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from inventory.actors import Actor
from inventory.choices import EvidenceKind, RecordState
from inventory.errors import InvalidInputError, NotPermittedError
from inventory.models import CertificateJob, CertificateRecord, ChargerFamily, Cohort, DomainEvent
from inventory.services import catalogue, identities, jobs, lifecycle, station_commands, transitions
from tests.inventory.material import external_certificate, publish_external_authority
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db

Verb = Callable[[ControlPlane, Actor, str], object]


def person(*permissions: str) -> Actor:
    """Somebody who may do what is listed, and nothing else."""
    user = User.objects.create_user("maria")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return Actor.person(User.objects.get(pk=user.pk))


def active(plane: ControlPlane) -> CertificateRecord:
    return plane.enrol(charger("CS-1"))


def inactive(plane: ControlPlane) -> CertificateRecord:
    return lifecycle.deactivate(record=active(plane), actor=OPERATOR, reason="test", force=True, now=plane.clock())


def installed(plane: ControlPlane) -> CertificateRecord:
    return lifecycle.reactivate(record=inactive(plane), actor=OPERATOR, reason="test", now=plane.clock())


def job(plane: ControlPlane) -> CertificateJob:
    return lifecycle.issue(
        identity=charger("CS-1"), purpose="charger_identity", actor=OPERATOR, reason="test", now=plane.clock()
    )


def waiting_job(plane: ControlPlane) -> CertificateJob:
    return CertificateJob.objects.get(pk=job(plane).pk)


def activate(plane: ControlPlane, actor: Actor, reason: str) -> object:
    record = installed(plane)
    plane.clock.advance(seconds=1)
    evidence = transitions.observe(
        record, EvidenceKind.MTLS_CONNECTION, now=plane.clock(), source="test", dedupe_key="test"
    )
    return lifecycle.activate(record=record, evidence=evidence, actor=actor, reason=reason, now=plane.clock())


def register(plane: ControlPlane, actor: Actor, reason: str) -> object:
    publish_external_authority(plane.clock())
    return lifecycle.register_external(
        identity=charger("CS-1"),
        purpose="charger_identity",
        certificate_pem=external_certificate("CS-1", plane.clock(), 100),
        actor=actor,
        reason=reason,
        now=plane.clock(),
    )


VERBS: dict[str, tuple[str, Verb]] = {
    "issue": (
        "issue_certificaterecord",
        lambda plane, actor, reason: lifecycle.issue(
            identity=charger("CS-1"), purpose="charger_identity", actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "renew": (
        "renew_certificaterecord",
        lambda plane, actor, reason: lifecycle.renew(
            record=active(plane), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "install": (
        "install_certificaterecord",
        lambda plane, actor, reason: lifecycle.install(
            record=installed(plane), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "activate": ("activate_certificaterecord", activate),
    "deactivate": (
        "deactivate_certificaterecord",
        lambda plane, actor, reason: lifecycle.deactivate(
            record=another_works_too(plane), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "reactivate": (
        "reactivate_certificaterecord",
        lambda plane, actor, reason: lifecycle.reactivate(
            record=inactive(plane), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "revoke": (
        "revoke_certificaterecord",
        lambda plane, actor, reason: lifecycle.revoke(
            record=active(plane), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "delete": (
        "delete_certificaterecord",
        lambda plane, actor, reason: lifecycle.delete(
            record=inactive(plane), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "register_external": ("register_certificaterecord", register),
    "cancel": (
        "cancel_certificatejob",
        lambda plane, actor, reason: jobs.cancel(job=job(plane), actor=actor, reason=reason, now=plane.clock()),
    ),
    "run_now": (
        "retry_certificatejob",
        lambda plane, actor, reason: jobs.run_now(
            job=waiting_job(plane), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "request_csr": (
        "command_managedidentity",
        lambda plane, actor, reason: station_commands.request_csr(
            identity=charger("CS-1"), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "reset": (
        "command_managedidentity",
        lambda plane, actor, reason: station_commands.reset(
            identity=charger("CS-1"), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "install_trust_anchors": (
        "command_managedidentity",
        lambda plane, actor, reason: station_commands.install_trust_anchors(
            identity=charger("CS-1"), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "cut_over": (
        "cutover_managedidentity",
        lambda plane, actor, reason: station_commands.cut_over(
            identity=on_profile_2_with_a_certificate(plane), actor=actor, reason=reason, now=plane.clock()
        ),
    ),
    "set_enabled": (
        "change_managedidentity",
        lambda plane, actor, reason: identities.set_enabled(
            identity=charger("CS-1"), enabled=False, actor=actor, reason=reason
        ),
    ),
    "save a family": (
        "add_chargerfamily",
        lambda plane, actor, reason: catalogue.save(
            entry=ChargerFamily(name="Acme 7", vendor="Acme", model="7"), actor=actor, reason=reason
        ),
    ),
    "add members": (
        "change_cohort",
        lambda plane, actor, reason: catalogue.add_members(
            cohort=cohort(), identifiers=[charger("CS-1").authoritative_identifier], actor=actor, reason=reason
        ),
    ),
}


def cohort() -> Cohort:
    return catalogue.save(entry=Cohort(name="North"), actor=OPERATOR, reason="test")


def another_works_too(plane: ControlPlane) -> CertificateRecord:
    """An active certificate beside a retired one that still opens the door."""
    record = active(plane)
    plane.complete(lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock()))
    return CertificateRecord.objects.get(identity=record.identity, state=RecordState.ACTIVE)


def on_profile_2_with_a_certificate(plane: ControlPlane) -> Any:
    identity = active(plane).identity
    type(identity).objects.update(security_profile=2)
    plane.seen(identity)
    return identity


EVERY_OTHER = {permission for permission, _ in VERBS.values()} | {
    "change_certificaterecord",
    "add_certificaterecord",
    "view_certificaterecord",
    "forcedelete_certificaterecord",
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_person_with_every_other_permission_is_refused_and_nothing_changes(plane: ControlPlane, verb: str) -> None:
    permission, act = VERBS[verb]
    actor = person(*EVERY_OTHER - {permission})

    with pytest.raises(NotPermittedError) as refusal:
        act(plane, actor, "test")

    assert str(refusal.value) == (
        f"maria may not do this: the permission “inventory.{permission}” is missing. Ask an administrator for it."
    )
    assert not DomainEvent.objects.filter(actor="person:maria").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_person_with_this_permission_alone_may(plane: ControlPlane, verb: str) -> None:
    permission, act = VERBS[verb]

    act(plane, person(permission), "test")


@pytest.mark.parametrize("verb", VERBS)
def test_the_parts_of_the_system_need_no_account(plane: ControlPlane, verb: str) -> None:
    _, act = VERBS[verb]

    act(plane, Actor.system("test"), "test")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_needs_a_reason(plane: ControlPlane, verb: str) -> None:
    _, act = VERBS[verb]

    with pytest.raises(InvalidInputError, match="A reason is needed: say why, for the audit trail"):
        act(plane, OPERATOR, " ")


def test_a_person_without_an_account_any_more_may_nothing(plane: ControlPlane) -> None:
    actor = person("issue_certificaterecord")
    User.objects.update(is_active=False)
    assert actor.user is not None

    with pytest.raises(NotPermittedError):
        VERBS["issue"][1](plane, Actor.person(User.objects.get(pk=actor.user.pk)), "test")


def test_a_superuser_may_everything(plane: ControlPlane) -> None:
    actor = Actor.person(User.objects.create_superuser("root"))

    assert all(actor.may(permission) for permission in EVERY_OTHER)


@pytest.mark.parametrize("verb", ["deactivate", "delete"])
def test_taking_the_last_working_certificate_needs_a_permission_of_its_own(plane: ControlPlane, verb: str) -> None:
    record = active(plane)
    act: Callable[..., object] = lifecycle.deactivate
    if verb == "delete":
        record = retired_but_last(plane, record)
        act = lifecycle.delete
    actor = person(f"{verb}_certificaterecord")

    with pytest.raises(NotPermittedError, match="forcedelete_certificaterecord"):
        act(record=record, actor=actor, reason="test", force=True, now=plane.clock())
    record.refresh_from_db()
    assert record.state in (RecordState.ACTIVE, RecordState.RETIRED)


def retired_but_last(plane: ControlPlane, record: CertificateRecord) -> CertificateRecord:
    """The old certificate of a renewal whose new one was taken out of service: the last that opens the door."""
    plane.complete(lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock()))
    newer = CertificateRecord.objects.get(identity=record.identity, state=RecordState.ACTIVE)
    lifecycle.revoke(record=newer, actor=OPERATOR, reason="test", now=plane.clock())
    return CertificateRecord.objects.get(pk=record.pk)
