"""What became of contracts, provisioning certificates and roots in the pools; added to, never changed."""

from django.db import models

from provisioning.models.pool_node import PoolNode
from provisioning.pools.choices import ChangeKind


class PoolChange(models.Model):
    """One change: who, why, to what. It names certificates by fingerprint and holds nothing of their contents."""

    kind = models.CharField(max_length=25, choices=ChangeKind.choices)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    reason = models.TextField()
    correlation_id = models.CharField(max_length=64)
    node = models.ForeignKey(PoolNode, null=True, on_delete=models.PROTECT, help_text="Whose it is.")
    pcid = models.CharField("PCID", max_length=18, blank=True, db_index=True)
    emaid = models.CharField("EMAID", max_length=15, blank=True, db_index=True)
    namespace = models.CharField(max_length=40, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True)
    not_after = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["kind", "-id"], name="pool_change_by_kind")]

    def __str__(self) -> str:
        return self.get_kind_display()
