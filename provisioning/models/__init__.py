"""The provisioning app's tables, one aggregate a file."""

from provisioning.models.case import ExternalReference, Prerequisite, ProvisioningCase
from provisioning.models.evidence import ProvisioningEvidence
from provisioning.models.ownership import OwnershipDecision

__all__ = ["ExternalReference", "OwnershipDecision", "Prerequisite", "ProvisioningCase", "ProvisioningEvidence"]
