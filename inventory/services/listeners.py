"""The gateway's own server certificates: backend_server records like every other, and what the gateway trusts."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from bfcerts.ocpp.registry import ListenerRequest
from bfcerts.pki.certificates import split_chain
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import ISSUING_ACTIONS, EvidenceKind, JobState, RecordState, SubjectKind
from inventory.models import CertificateJob, CertificateRecord, IssuingAuthority, ManagedIdentity
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from inventory.services import lifecycle, transitions
from inventory.services.enrolment import accept_csr
from inventory.services.locking import lock_identity, lock_record

GATEWAY = Actor.system("gateway")
AFTER_FAILURE = timedelta(minutes=1)
_USABLE = (RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ACTIVE)


class ListenerCertificates:
    """Lent to the wire at start-up (`bfcerts.ocpp.registry.Listeners`)."""

    def ensure_requested(self, host: str, key_types: Sequence[str], now: datetime) -> None:
        """Make sure that the host is in the inventory and has, or is getting, a certificate of each key type."""
        with attributed(GATEWAY, "The gateway serves this host name"), transaction.atomic():
            identity, _ = ManagedIdentity.objects.get_or_create(
                kind=SubjectKind.SERVICE_ENDPOINT,
                authoritative_identifier=host,
                defaults={"name": f"OCPP gateway {host}"},
            )
        if not identity.enabled:
            return
        for key_type in key_types:
            records = CertificateRecord.objects.of(identity.pk, BACKEND_SERVER.key, key_type)
            if records.filter(state__in=_USABLE, not_after__gt=now).exists():
                continue
            jobs = CertificateJob.objects.filter(identity=identity, purpose=BACKEND_SERVER.key, slot=key_type)
            failed_lately = jobs.filter(state=JobState.FAILED, finished_at__gt=now - AFTER_FAILURE)
            at_work = jobs.open().filter(action__in=ISSUING_ACTIONS)
            if not at_work.exists() and not failed_lately.exists():
                lifecycle.issue(
                    identity=identity,
                    purpose=BACKEND_SERVER.key,
                    slot=key_type,
                    actor=GATEWAY,
                    reason=f"The gateway has no {key_type} certificate for {host}",
                    now=now,
                )

    def wanted(self, host: str) -> list[ListenerRequest]:
        """Requests that wait for a CSR of this host."""
        waiting = CertificateJob.objects.open().filter(
            identity__kind=SubjectKind.SERVICE_ENDPOINT,
            identity__authoritative_identifier=host,
            purpose=BACKEND_SERVER.key,
            action__in=ISSUING_ACTIONS,
            step="await_csr",
        )
        return [
            ListenerRequest(
                reference=f"job:{job.pk}:{job.parameters.get('csr_tries', 0)}", host=host, key_type=job.slot
            )
            for job in waiting
        ]

    def submit_request(self, reference: str, csr_pem: str, now: datetime) -> None:
        """Hand in the CSR for a request; of no use any more if the job has moved on."""
        job_id = int(reference.split(":")[1])
        with transaction.atomic():
            identity_id = CertificateJob.objects.values_list("identity_id", flat=True).get(pk=job_id)
            lock_identity(identity_id)
            job = CertificateJob.objects.select_related("identity").get(pk=job_id)
            if job.step != "await_csr" or not job.is_open:
                return
            with attributed(GATEWAY, job.reason, job.correlation_id):
                accept_csr(job, csr_pem, certificate_type=None, now=now)

    def chain_for(self, public_key_sha256: str) -> str | None:
        """The usable chain (leaf first, PEM, without the root) issued for a key, or None."""
        record = (
            CertificateRecord.objects.filter(
                public_key_sha256=public_key_sha256, purpose=BACKEND_SERVER.key, state__in=_USABLE
            )
            .order_by("-not_after")
            .first()
        )
        if record is None:
            return None
        return record.certificate_pem + "".join(split_chain(record.chain_pem)[:-1])

    def presented(self, public_key_sha256: str, now: datetime) -> None:
        """The listener presents the certificate of this key: the evidence that activates it."""
        record_id = (
            CertificateRecord.objects.filter(
                public_key_sha256=public_key_sha256,
                purpose=BACKEND_SERVER.key,
                state__in=(RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION),
            )
            .values_list("pk", flat=True)
            .first()
        )
        if record_id is None:
            return
        with attributed(GATEWAY, "Our listener presents this certificate"), transaction.atomic():
            record = lock_record(record_id)
            if record.state not in (RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION):
                return
            evidence = transitions.observe(
                record,
                EvidenceKind.LISTENER_PRESENTS,
                now=now,
                source=f"listener of {record.identity.authoritative_identifier}",
                dedupe_key=f"presented:{record.pk}:{record.deactivated_at or ''}",
            )
            if record.state == RecordState.ISSUED:
                transitions.installation_recorded(record, evidence, now=now, job=None)
            transitions.activated(record, evidence, now=now, job=None)
            lifecycle.finish_jobs_of(record, f"Certificate {record.pk} is active: our listener presents it.", now)

    def client_trust_anchors(self) -> list[str]:
        """PEM of the roots and issuing CAs of the charger identity trust domain, and of no other."""
        authorities = IssuingAuthority.objects.filter(trust_domain=CHARGER_IDENTITY.trust_domain, trusted=True)
        return [pem for authority in authorities for pem in split_chain(authority.chain_pem)]
