"""Given-parts of the tests of the doors: people with permissions, and an inventory with something of everything."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model
from knox.models import AuthToken
from rest_framework.test import APIClient

from bfcerts.ocpp.canonical import Action, Evidence, QuestionKind
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationQuestion, StationSession
from inventory.audit import attributed
from inventory.choices import EventType, JobAction, SecurityCategory, SecuritySource, Severity
from inventory.models import (
    Artifact,
    CertificateJob,
    CertificateRecord,
    ChargerFamily,
    Cohort,
    DomainEvent,
    IssuingAuthority,
    LifecyclePolicy,
    ManagedIdentity,
    Plan,
    PlanTarget,
    SecurityEvent,
    Setback,
    SitePolicy,
    StationLog,
    Upstream,
)
from inventory.models import Evidence as RecordEvidence
from inventory.services import activation, catalogue, identities, lifecycle, plans, station_logs
from inventory.services import jobs as job_service
from tests.inventory.material import ca_certificate, external_certificate, publish_external_authority
from tests.migration.given import MAKERS as MIGRATION_MAKERS
from tests.provisioning.given import MAKERS as PROVISIONING_MAKERS
from tests.provisioning.pool_given import MAKERS as POOL_MAKERS
from tests.support import OPERATOR, charger
from tests.trustanchors.given import MAKERS as TRUST_ANCHOR_MAKERS

PASSWORD = "correct-horse-battery"


def person(name: str, *permissions: str, staff: bool = True) -> User:
    """Somebody with exactly these permissions, as “inventory.view_certificaterecord”."""
    user = User.objects.create_user(name, password=PASSWORD, is_staff=staff)
    for permission in permissions:
        label, _, codename = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=label, codename=codename))
    return user


def administrator(name: str = "maria") -> User:
    return User.objects.create_superuser(name, password=PASSWORD)


def view_permissions() -> list[str]:
    """Everything that can be viewed."""
    labels = ("inventory", "ocpp", "migration", "provisioning", "trustanchors", "auth")
    models = [model for label in labels for model in apps.get_app_config(label).get_models()]
    return [f"{model._meta.app_label}.view_{model._meta.model_name}" for model in models]


def identity(**fields: Any) -> ManagedIdentity:
    """An identity with these fields; a charger unless said otherwise."""
    values = {"kind": "charger", "authoritative_identifier": f"CS-{uuid4().hex[:8]}", **fields}
    return identities.create(actor=OPERATOR, reason="given", **values)


def certificate_for(name: str, *, days: int = 100) -> str:
    """A certificate that somebody else issued, in PEM; for chargers its CA is one that we accept."""
    now = datetime.now(UTC)
    publish_external_authority(now, name="Somebody's CA")
    return external_certificate(name, now - timedelta(hours=1), days, issuer="Somebody's CA")


def active_record(identity: ManagedIdentity, **values: Any) -> CertificateRecord:
    """A charger certificate that others issued and that was seen in use, unless these values say otherwise."""
    record = lifecycle.register_external(
        identity=identity,
        purpose="charger_identity",
        certificate_pem=certificate_for(identity.authoritative_identifier),
        actor=OPERATOR,
        reason="given",
        **values,
    )
    if "state" not in values:
        now = datetime.now(UTC)
        activation.connected_with_certificate(record.fingerprint, session=str(uuid4()), address="10.1.2.3", now=now)
        record.refresh_from_db()
    return record


def session(identity: ManagedIdentity, **values: Any) -> StationSession:
    """A connection of a charger, open unless `closed_at` is given."""
    options = {
        "node": "node-1",
        "listener": "profile3",
        "protocol": "ocpp2.0.1",
        "security_profile": 3,
        "address": "10.1.2.3",
        "connected_at": datetime.now(UTC),
        **values,
    }
    return StationSession.objects.create(station_id=identity.authoritative_identifier, **options)


def command(identity: ManagedIdentity, **values: Any) -> OutboxCommand:
    now = datetime.now(UTC)
    options = {
        "action": Action.RESET,
        "payload": {"kind": "OnIdle"},
        "dedupe_key": uuid4().hex,
        "created_at": now,
        "not_before": now,
        "deadline": now + timedelta(hours=1),
        **values,
    }
    return OutboxCommand.objects.create(station_id=identity.authoritative_identifier, **options)


def domain_event(identity: ManagedIdentity | None = None, **values: Any) -> DomainEvent:
    options = {
        "type": EventType.CERTIFICATE_REQUESTED,
        "occurred_at": datetime.now(UTC),
        "actor": "person:maria",
        "reason": "New bay",
        "correlation_id": uuid4().hex,
        "dedupe_key": uuid4().hex,
        **values,
    }
    return DomainEvent.objects.create(identity=identity, **options)


def security_event(identity: ManagedIdentity | None = None, **values: Any) -> SecurityEvent:
    now = datetime.now(UTC)
    options = {
        "type": "ConnectionRefused",
        "category": SecurityCategory.AUTHENTICATION,
        "severity": Severity.WARNING,
        "source": SecuritySource.TLS_ENDPOINT,
        "occurred_at": now,
        "recorded_at": now,
        "message": "A wrong password was refused.",
        "dedupe_key": uuid4().hex,
        **values,
    }
    return SecurityEvent.objects.create(identity=identity, **options)


def job(identity: ManagedIdentity, **values: Any) -> CertificateJob:
    """An open job."""
    options: dict[str, Any] = {
        "action": JobAction.ISSUE,
        "purpose": "charger_identity",
        "step": "request_csr",
        **values,
    }
    with attributed(OPERATOR, "given"):
        opened, _ = job_service.open_job(identity=identity, now=datetime.now(UTC), **options)
    return opened


def authority(**values: Any) -> IssuingAuthority:
    pem = ca_certificate(datetime.now(UTC), name="Issuing CA")
    options = {
        "trust_domain": "charger_identity",
        "name": f"Issuing CA {uuid4().hex[:6]}",
        "reference": uuid4().hex,
        "certificate_pem": pem,
        "chain_pem": pem,
        "root_pem": pem,
        "fingerprint": uuid4().hex * 2,
        "not_after": datetime.now(UTC) + timedelta(days=1000),
        "issues": False,
        **values,
    }
    with attributed(OPERATOR, "given"):
        return IssuingAuthority.objects.create(**options)


def family(**values: Any) -> ChargerFamily:
    options = {"name": f"Family {uuid4().hex[:6]}", "vendor": "Vendor", "model": "Model", **values}
    return catalogue.save(entry=ChargerFamily(**options), actor=OPERATOR, reason="given")


def cohort(**values: Any) -> Cohort:
    return catalogue.save(
        entry=Cohort(**{"name": f"Cohort {uuid4().hex[:6]}", **values}), actor=OPERATOR, reason="given"
    )


def policy(**values: Any) -> LifecyclePolicy:
    options = {
        "name": f"Policy {uuid4().hex[:6]}",
        "purpose": "charger_identity",
        "program": uuid4().hex[:6],
        "validity": timedelta(days=90),
        **values,
    }
    return catalogue.save(entry=LifecyclePolicy(**options), actor=OPERATOR, reason="given")


def station_question(identity: ManagedIdentity) -> StationQuestion:
    now = datetime.now(UTC)
    return StationQuestion.objects.create(
        station_id=identity.authoritative_identifier,
        session_id=uuid4(),
        kind=QuestionKind.EV_CERTIFICATE,
        message_id=uuid4().hex,
        payload={"exi": "gJgB"},
        longest=7500,
        asked_at=now,
        deadline=now + timedelta(seconds=20),
    )


def inbox_message(identity: ManagedIdentity) -> InboxMessage:
    now = datetime.now(UTC)
    return InboxMessage.objects.create(
        station_id=identity.authoritative_identifier,
        kind=Evidence.BOOTED,
        payload={"reason": "PowerUp"},
        received_at=now,
        next_run_at=now,
    )


def kept_artifact(identity: ManagedIdentity | None = None) -> Artifact:
    """The row of an artifact, whose bytes are in no store."""
    with attributed(OPERATOR, "test"):
        return Artifact.objects.create(
            kind="chain",
            name=f"chains/{uuid4().hex}.pem",
            origin=f"test:{uuid4().hex}",
            identity=identity,
            sha256="0" * 64,
            size=1234,
            content_type="text/plain",
            created_at=datetime.now(UTC),
        )


def station_log(identity: ManagedIdentity) -> StationLog:
    """A log that was asked for."""
    return station_logs.fetch(identity=identity, actor=OPERATOR, reason="test")


def upstream() -> Upstream:
    """One charger that is not relayed."""
    entry = Upstream(name=f"upstream-{uuid4().hex[:8]}", identity=charger())
    return catalogue.save(entry=entry, actor=OPERATOR, reason="given")


def site_policy() -> SitePolicy:
    return catalogue.save(entry=SitePolicy(site=f"Depot {uuid4().hex[:6]}"), actor=OPERATOR, reason="given")


def setback(identity: ManagedIdentity | None = None) -> Setback:
    """A piece of work that failed, and waits for its next try."""
    now = datetime.now(UTC)
    return Setback.objects.create(
        work="anchors-begin",
        key=uuid4().int % 10**9,
        identity=identity,
        since=now,
        until=now + timedelta(minutes=5),
        error="Its family has no such anchor.",
    )


def plan() -> Plan:
    """A plan to revoke the certificate of one charger."""
    record = active_record(charger())
    return plans.make(
        kind="bulk_revocation",
        parameters={"identifiers": [record.identity.authoritative_identifier]},
        actor=OPERATOR,
        reason="given",
        now=datetime.now(UTC),
    )


MAKERS: dict[type[Model], Callable[[], Model]] = {
    ManagedIdentity: charger,
    ChargerFamily: family,
    Cohort: cohort,
    CertificateRecord: lambda: active_record(charger()),
    CertificateJob: lambda: job(charger()),
    LifecyclePolicy: policy,
    IssuingAuthority: authority,
    StationSession: lambda: session(charger()),
    OutboxCommand: lambda: command(charger()),
    InboxMessage: lambda: inbox_message(charger()),
    StationQuestion: lambda: station_question(charger()),
    Plan: plan,
    PlanTarget: lambda: plan().targets.get(),
    Setback: lambda: setback(charger()),
    SitePolicy: site_policy,
    Upstream: upstream,
    DomainEvent: lambda: domain_event(charger()),
    SecurityEvent: lambda: security_event(charger()),
    RecordEvidence: lambda: active_record(charger()).evidence.get(),
    Artifact: lambda: kept_artifact(charger()),
    StationLog: lambda: station_log(charger()),
    **MIGRATION_MAKERS,
    **POOL_MAKERS,
    **TRUST_ANCHOR_MAKERS,
    **PROVISIONING_MAKERS,
    User: lambda: User.objects.create_user(f"user-{uuid4().hex[:8]}"),
    Group: lambda: Group.objects.create(name=f"group-{uuid4().hex[:8]}"),
}
"""How to make one of everything that has a list."""


def some(model: type[Model], count: int) -> Sequence[Model]:
    return [MAKERS[model]() for _ in range(count)]


def speaker(user: User) -> APIClient:
    """The API as this person's integration speaks to it, with a token."""
    _, token = AuthToken.objects.create(user=user)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def seen_in_use(record: CertificateRecord) -> RecordEvidence:
    """The evidence of a mutual-TLS connection with exactly this certificate."""
    return record.evidence.create(
        kind="mtls_connection", observed_at=datetime.now(UTC), source="gateway", dedupe_key=uuid4().hex
    )
