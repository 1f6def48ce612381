"""The root certificate pool."""

import uuid

from django.db import models
from django.db.models import Q

from inventory.audit import history
from provisioning.pools.choices import RootType


class PoolRoot(models.Model):
    """A root that chains of contracts, vehicles or provisioning services may end at.

    Whatever is said of it is read from the certificate, never taken from whoever brought it.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    root_type = models.CharField(max_length=3, choices=RootType.choices)
    certificate_pem = models.TextField()
    fingerprint = models.CharField(max_length=64)
    subject = models.TextField()
    not_before = models.DateTimeField()
    not_after = models.DateTimeField(db_index=True)
    added_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)
    expiry_told_at = models.DateTimeField(null=True, blank=True)

    history = history(excluded_fields=["expiry_told_at"])

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], condition=Q(removed_at__isnull=True), name="a_root_is_in_the_pool_once"
            ),
        ]
        permissions = [
            ("publish_poolroot", "Can add a root to the pool"),
            ("remove_poolroot", "Can take a root out of the pool"),
        ]

    def __str__(self) -> str:
        return self.subject
