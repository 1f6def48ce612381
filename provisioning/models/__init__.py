"""The provisioning app's tables, one aggregate a file."""

from provisioning.models.case import ExternalReference, Prerequisite, ProvisioningCase
from provisioning.models.evidence import ProvisioningEvidence
from provisioning.models.ownership import OwnershipDecision
from provisioning.models.pool_change import PoolChange
from provisioning.models.pool_contract import PoolContract
from provisioning.models.pool_node import PoolCredential, PoolIdentifier, PoolNode
from provisioning.models.pool_provisioning_certificate import PoolProvisioningCertificate
from provisioning.models.pool_push import PoolPush, PoolWebhook
from provisioning.models.pool_root import PoolRoot

__all__ = [
    "ExternalReference",
    "OwnershipDecision",
    "PoolChange",
    "PoolContract",
    "PoolCredential",
    "PoolIdentifier",
    "PoolNode",
    "PoolProvisioningCertificate",
    "PoolPush",
    "PoolRoot",
    "PoolWebhook",
    "Prerequisite",
    "ProvisioningCase",
    "ProvisioningEvidence",
]
