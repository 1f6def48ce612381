"""What the inventory knows of certificate authorities, and the intents that make issuance happen once."""

from datetime import timedelta

from django.db import models
from django.db.models import Q

from inventory.audit import history

SCHEME_MODE = "EST"
"""The mode of a CA that a scheme runs, as its adapter names it."""


class IssuingAuthority(models.Model):
    """The public side of one issuing CA of a trust domain: its chain, never its key.

    Written by the PKI worker; the gateway reads from it what it trusts.
    """

    trust_domain = models.CharField(max_length=40)
    name = models.CharField(max_length=120)
    reference = models.CharField(max_length=255, unique=True, help_text="ARN, or the local CA's name.")
    certificate_pem = models.TextField(help_text="The issuing CA's certificate.")
    chain_pem = models.TextField(help_text="From the issuing CA to its root.")
    root_pem = models.TextField()
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the issuing CA's certificate.")
    not_after = models.DateTimeField()
    trusted = models.BooleanField(default=True, help_text="Its certificates are accepted at our doors.")
    issues = models.BooleanField(default=True, help_text="New certificates are asked of it.")
    status = models.CharField(max_length=60, blank=True)
    mode = models.CharField(max_length=40, blank=True, help_text="As its CA names it, such as GENERAL_PURPOSE.")
    longest_validity = models.DurationField(
        null=True, blank=True, help_text="How long its certificates may last; empty: until its own end."
    )
    updated_at = models.DateTimeField(auto_now=True)

    history = history()

    class Meta:
        verbose_name_plural = "issuing authorities"
        constraints = [
            models.UniqueConstraint(fields=["id", "trust_domain"], name="authority_with_trust_domain"),
            models.UniqueConstraint(
                fields=["trust_domain"],
                condition=Q(issues=True),
                name="one_issuing_authority_per_trust_domain",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def run_by_others(self) -> bool:
        """Whether it is a scheme's CA, which decides by itself how long its certificates last."""
        return self.mode == SCHEME_MODE

    def refusal_of(self, validity: timedelta) -> str | None:
        """Why it cannot issue for so long at all, as a sentence; None where it can."""
        if self.longest_validity is None or validity <= self.longest_validity:
            return None
        return (
            f"{self.name} issues for {_days(self.longest_validity)} at most ({self.mode}), and the policy asks for "
            f"{_days(validity)}: shorten the policy, or let the PKI worker use another CA for this purpose."
        )


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):g} days"


class IssuanceIntent(models.Model):
    """What we are about to ask a CA, stored before the call so that a retry is the same request.

    Everything that shapes the certificate is fixed here once: CSR, profile, absolute validity (aws-private-ca).
    """

    job = models.ForeignKey("inventory.CertificateJob", on_delete=models.PROTECT, related_name="intents")
    record = models.OneToOneField("inventory.CertificateRecord", on_delete=models.PROTECT, related_name="intent")
    authority = models.ForeignKey(IssuingAuthority, on_delete=models.PROTECT)
    token = models.CharField(max_length=36, unique=True, help_text="The CA's idempotency token.")
    csr_sha256 = models.CharField(max_length=64)
    profile = models.CharField(max_length=40)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    created_at = models.DateTimeField()
    submitted_at = models.DateTimeField(
        null=True, blank=True, help_text="Set before the call; the first one whose answer is not known."
    )
    reference = models.CharField(max_length=255, blank=True, help_text="What the CA answered, as an ARN.")
    collected_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"Intent {self.token}"


class AuditReport(models.Model):
    """The last report that a CA was asked for on what it issued: it makes few, and one answers many questions."""

    authority = models.CharField(max_length=255, primary_key=True, help_text="Reference of the CA, as its ARN.")
    requested_at = models.DateTimeField(help_text="Set before the call.")
    report_id = models.CharField(max_length=80, blank=True, help_text="Empty while, or because, none was answered.")

    def __str__(self) -> str:
        return f"Audit report of {self.authority}"


class PublicKeyOwner(models.Model):
    """Which identity a public key belongs to: the first that used it, for ever."""

    public_key_sha256 = models.CharField(max_length=64, primary_key=True)
    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="public_keys")
    first_seen_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.public_key_sha256[:16]
