"""Certificates and jobs with their verbs, and evidence."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.api import filters
from inventory.api.base import Listing, ReasonSerializer, RunNowSerializer, job_started
from inventory.api.idempotency import service_key
from inventory.api.serializers.certificates import (
    ActivateSerializer,
    AvailableActionSerializer,
    EvidenceSerializer,
    ForceableSerializer,
    JobSerializer,
    PolicyCandidateSerializer,
    RecordDetailSerializer,
    RecordSerializer,
    RegistrationSerializer,
    RevokeSerializer,
)
from inventory.api.views.fleet import WithHistory
from inventory.models import CertificateJob, CertificateRecord, Evidence
from inventory.services import actions, job_actions, jobs, lifecycle, policies


class RecordViewSet(WithHistory, Listing):
    """Every certificate that the inventory knows."""

    queryset = CertificateRecord.objects.select_related("identity")
    serializer_class = RecordDetailSerializer
    list_serializer_class = RecordSerializer
    unlisted_fields = ("certificate_pem", "chain_pem", "csr_pem")
    filterset_class = filters.RecordFilter

    @extend_schema(request=RegistrationSerializer, responses={201: RecordDetailSerializer})
    def create(self, request: Request) -> Response:
        """Register a certificate that others issued; registering it again answers with the one that exists."""
        record = lifecycle.register_external(actor=self.actor, **self.asked(RegistrationSerializer))
        return self.made(record)

    @extend_schema(responses=AvailableActionSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[], url_path="actions")
    def available_actions(self, request: Request, pk: str) -> Response:
        """What you may do with it now, and what that would mean."""
        offered = actions.for_record(self.get_object(), self.actor, timezone.now())
        return Response(AvailableActionSerializer(offered, many=True).data)

    @extend_schema(responses=PolicyCandidateSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def policy(self, request: Request, pk: str) -> Response:
        """Which lifecycle policy applies to it, and why."""
        record = self.get_object()
        resolved = policies.resolve(record.identity, record.purpose)
        return Response(PolicyCandidateSerializer(resolved.explanation, many=True).data)

    @extend_schema(request=ReasonSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def renew(self, request: Request, pk: str) -> Response:
        """Start its replacement; it works until the new one is in use."""
        return self._job(lifecycle.renew)

    @extend_schema(request=ReasonSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def install(self, request: Request, pk: str) -> Response:
        """Deliver it, again if need be."""
        return self._job(lifecycle.install)

    @extend_schema(request=ActivateSerializer, responses=RecordDetailSerializer)
    @action(detail=True, methods=["post"])
    def activate(self, request: Request, pk: str) -> Response:
        """Make it active on evidence that is recorded already."""
        return self._transition(lifecycle.activate, self.asked(ActivateSerializer))

    @extend_schema(request=ForceableSerializer, responses=RecordDetailSerializer)
    @action(detail=True, methods=["post"])
    def deactivate(self, request: Request, pk: str) -> Response:
        """Take it out of service; it can come back."""
        return self._transition(lifecycle.deactivate, self.asked(ForceableSerializer))

    @extend_schema(request=ReasonSerializer, responses=RecordDetailSerializer)
    @action(detail=True, methods=["post"])
    def reactivate(self, request: Request, pk: str) -> Response:
        """Let it open the door again; it becomes active on fresh evidence."""
        return self._transition(lifecycle.reactivate, self.asked(ReasonSerializer))

    @extend_schema(request=RevokeSerializer, responses=RecordDetailSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Refuse it at once and for good; the CA is told after that."""
        return self._transition(lifecycle.revoke, self.asked(RevokeSerializer))

    # Named so that the verb's route is /delete while HTTP's DELETE stays unknown: nothing audited is removed.
    @extend_schema(request=ForceableSerializer, responses=RecordDetailSerializer)
    @action(detail=True, methods=["post"], url_path="delete", url_name="delete")
    def take_out(self, request: Request, pk: str) -> Response:
        """Take it out of the living inventory; its row and history stay."""
        return self._transition(lifecycle.delete, self.asked(ForceableSerializer))

    def _job(self, service: Callable[..., CertificateJob]) -> Response:
        record, values = self.get_object(), self.asked(ReasonSerializer)
        key = service_key(self.request)
        job = self.carry_out(record, lambda: service(record=record, actor=self.actor, idempotency_key=key, **values))
        return job_started(job, self)

    def _transition(self, service: Callable[..., CertificateRecord], values: dict[str, Any]) -> Response:
        record = self.get_object()
        changed = self.carry_out(record, lambda: service(record=record, actor=self.actor, **values))
        return self.shown(changed)


class JobViewSet(WithHistory, Listing):
    """Every durable work item."""

    queryset = CertificateJob.objects.all()
    serializer_class = JobSerializer
    filterset_class = filters.JobFilter

    @extend_schema(responses=AvailableActionSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[], url_path="actions")
    def available_actions(self, request: Request, pk: str) -> Response:
        """What you may do with it now, and what that would mean."""
        offered = job_actions.for_job(self.get_object(), self.actor)
        return Response(AvailableActionSerializer(offered, many=True).data)

    @extend_schema(request=ReasonSerializer, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """End an open job."""
        return self._verb(jobs.cancel)

    @extend_schema(request=RunNowSerializer, responses=JobSerializer)
    @action(detail=True, methods=["post"], url_path="run-now")
    def run_now(self, request: Request, pk: str) -> Response:
        """Let a job that waits for its next try run now."""
        job, values = self.get_object(), self.asked(RunNowSerializer)
        return self.shown(self.carry_out(job, lambda: jobs.run_now(job=job, actor=self.actor, **values)))

    @extend_schema(request=ReasonSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"], url_path="start-again")
    def start_again(self, request: Request, pk: str) -> Response:
        """Start the work of a failed or cancelled job anew, by a new job."""
        job, values = self.get_object(), self.asked(ReasonSerializer)
        key = service_key(self.request)
        started = self.carry_out(
            job, lambda: job_actions.start_again(job=job, actor=self.actor, idempotency_key=key, **values)
        )
        return job_started(started, self)

    def _verb(self, service: Callable[..., CertificateJob]) -> Response:
        job, values = self.get_object(), self.asked(ReasonSerializer)
        return self.shown(self.carry_out(job, lambda: service(job=job, actor=self.actor, **values)))


class EvidenceViewSet(Listing):
    """Observed facts that can move a certificate."""

    queryset = Evidence.objects.all()
    serializer_class = EvidenceSerializer
    filterset_class = filters.EvidenceFilter
