"""The control plane with AWS Private CA behind it, worked by hand."""

from datetime import timedelta
from typing import Any

from bfcerts.configuration import Configuration
from bfcerts.setting_kinds import AuthorityKind, Process
from inventory.models import CertificateJob, ManagedIdentity
from inventory.services import issuance, lifecycle
from tests.acm_pca import AcmPcaServer
from tests.acm_pca.service import REGION
from tests.support import OPERATOR, Clock, ControlPlane, PrivateKey, request_for

BUCKET = "fleet-audit-reports"
TRUST_DOMAINS = ("charger_identity", "vehicle_vas_identity", "backend_server")


class Installation(ControlPlane):
    """`ControlPlane` as an operator has configured it for AWS.

    :ivar aws: the CA's side.
    """

    def __init__(self, clock: Clock, aws: AcmPcaServer, settings: Any) -> None:
        super().__init__(clock)
        self.aws = aws
        self._settings = settings

    def configure(self, **changed: object) -> None:
        """Take over a configuration, as a restart of the PKI worker does."""
        values: dict[str, object] = {
            "process": Process.PKI,
            "pki_secret_key": "test-pki-signing-key-0123456789abcdef0123456789",
            "authority": AuthorityKind.AWS_PRIVATE_CA,
            "aws_region": REGION,
            "aws_endpoint_url": self.aws.url,
            "aws_private_ca_arns": self.aws.arns,
            "aws_audit_report_bucket": BUCKET,
        }
        self._settings.CONFIGURATION = Configuration.model_validate({**values, **changed})
        self.forget_authorities()

    def forget_authorities(self) -> None:
        """What a process knows of its CAs goes with the process."""
        issuance.authorities.cache_clear()

    def request(self, identity: ManagedIdentity, key: PrivateKey | None = None) -> CertificateJob:
        """An operator hands in a charger's request."""
        return lifecycle.issue(
            identity=identity,
            purpose="charger_identity",
            csr_pem=request_for(identity.authoritative_identifier, key),
            actor=OPERATOR,
            reason="test",
            now=self.clock(),
        )

    def until_it_moves_on(self, *jobs: CertificateJob, most: timedelta = timedelta(hours=3)) -> list[str]:
        """Work, and let the time come that is waited for, until none of the jobs is at the CA any more.

        :returns: what the first of them waited for meanwhile, in order.
        """
        ends = self.clock() + most
        waited: list[str] = []
        while True:
            self.work()
            for job in jobs:
                job.refresh_from_db()
            at_the_ca = [job for job in jobs if job.is_open and job.step == "issue"]
            if not at_the_ca:
                return waited
            assert all(job.state == "waiting" for job in at_the_ca), [job.outcome for job in at_the_ca]
            waited.append(at_the_ca[0].waiting_for)
            self.clock.now = min(job.next_run_at for job in at_the_ca)
            assert self.clock() <= ends, waited
