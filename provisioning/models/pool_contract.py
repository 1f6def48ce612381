"""The contract certificate pool: what each mobility operator has published for a vehicle."""

from django.db import models
from django.db.models import Q

from provisioning.models.pool_node import PoolNode
from provisioning.models.pool_provisioning_certificate import PoolProvisioningCertificate
from provisioning.models.pool_root import PoolRoot
from provisioning.pools.choices import Namespace


class PoolContracts(models.Manager["PoolContract"]):
    """Contracts without what is encrypted in them; only answering asks for that, with `defer(None)`."""

    def get_queryset(self) -> models.QuerySet["PoolContract"]:
        return super().get_queryset().defer(*PoolContract.unversioned_fields)


class PoolContract(models.Model):
    """One contract for one vehicle and one edition of ISO 15118.

    What was signed holds the contract's private key, encrypted for the vehicle by whoever published it. It stands in
    the three binary columns and nowhere else; rows of this table have no history for that reason, and are deleted. What
    became of them is in `PoolChange`.

    Of each vehicle and edition exactly one contract is the default: the index says at most one, a deferred trigger at
    least one.
    """

    unversioned_fields = ("signed_data", "installation_response", "update_response")
    """What is encrypted; `content_sha256` says whether it has changed."""

    provisioning_certificate = models.ForeignKey(
        PoolProvisioningCertificate, on_delete=models.PROTECT, related_name="contracts"
    )
    node = models.ForeignKey(PoolNode, on_delete=models.PROTECT, help_text="The mobility operator whose it is.")
    emaid = models.CharField("EMAID", max_length=15, help_text="In capitals, without separators.")
    emaid_key = models.CharField(max_length=14, help_text="The EMAID without its check digit, by which it is compared.")
    namespace = models.CharField(max_length=40, choices=Namespace.choices)
    is_default = models.BooleanField("default", default=False)
    certificate_pem = models.TextField()
    root = models.ForeignKey(PoolRoot, on_delete=models.PROTECT, related_name="contracts")
    signer_root = models.ForeignKey(
        PoolRoot,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="signed_contracts",
        help_text="Of the service that signed the data, where its chain came with them.",
    )
    vehicle_key_sha256 = models.CharField(max_length=64, help_text="The vehicle's key that the data is encrypted for.")
    signed_data = models.BinaryField(null=True, help_text="The signed contract data as XML.")
    installation_response = models.BinaryField(null=True, help_text="Ready-made CertificateInstallationRes in EXI.")
    update_response = models.BinaryField(null=True, help_text="Ready-made CertificateUpdateRes in EXI.")
    content_sha256 = models.CharField(max_length=64, help_text="Of all that was published, so that a repeat is known.")
    metadata = models.TextField(blank=True)
    fingerprint = models.CharField(max_length=64, db_index=True)
    serial_number = models.CharField(max_length=64)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField(db_index=True)
    published_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, help_text="From then on it is given to nobody.")
    orphaned_at = models.DateTimeField(
        null=True, blank=True, help_text="Since then the vehicle has another key, and can do nothing with it."
    )

    objects = PoolContracts()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["emaid_key", "namespace"], name="an_emaid_has_one_contract"),
            models.UniqueConstraint(
                fields=["provisioning_certificate", "namespace"],
                condition=Q(is_default=True),
                name="one_default_contract_per_vehicle",
            ),
            models.CheckConstraint(
                condition=Q(emaid_key__regex=r"^[A-Z]{2}[A-Z0-9]{12}$") & Q(emaid__startswith=models.F("emaid_key")),
                name="an_emaid_is_in_normal_form",
            ),
            models.CheckConstraint(
                condition=Q(signed_data__isnull=False) | Q(installation_response__isnull=False),
                name="a_contract_has_something_to_give",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(revoked_at__isnull=False) | Q(orphaned_at__isnull=False),
                name="pool_contract_over",
            ),
        ]
        permissions = [
            ("remove_poolcontract", "Can delete a contract from the pool"),
            ("revoke_poolcontract", "Can block a contract of the pool as revoked"),
        ]

    def __str__(self) -> str:
        return self.emaid
