"""The provisioning certificate pool: by which certificate each vehicle is known."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from provisioning.models.pool_node import PoolNode
from provisioning.models.pool_root import PoolRoot
from provisioning.pools.choices import Namespace


class PoolProvisioningCertificate(models.Model):
    """The provisioning certificate of one vehicle. Its row is what every change of its contracts locks first."""

    pcid = models.CharField("PCID", max_length=18, unique=True, help_text="In capitals.")
    node = models.ForeignKey(PoolNode, on_delete=models.PROTECT, help_text="The manufacturer that published it.")
    namespace = models.CharField(max_length=40, choices=Namespace.choices)
    vehicle_certificate_pem = models.TextField()
    sub_ca1_pem = models.TextField()
    sub_ca2_pem = models.TextField(blank=True)
    root = models.ForeignKey(PoolRoot, on_delete=models.PROTECT)
    v2g_root_key_identifiers = ArrayField(models.CharField(max_length=120), default=list)
    previous_pcid = models.CharField("previous PCID", max_length=18, blank=True)
    fingerprint = models.CharField(max_length=64, db_index=True)
    public_key_sha256 = models.CharField(max_length=64)
    serial_number = models.CharField(max_length=64)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField(db_index=True)
    published_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, help_text="From then on the vehicle is given nothing.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(pcid__regex=r"^[A-Z0-9]{17,18}$"), name="a_pcid_is_in_normal_form"),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(revoked_at__isnull=False), name="pool_provisioning_over"),
        ]
        permissions = [
            ("remove_poolprovisioningcertificate", "Can delete a provisioning certificate with its contracts"),
        ]

    def __str__(self) -> str:
        return self.pcid
