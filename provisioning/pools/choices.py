"""The closed sets of the pools: roles, what tells companies apart, root types, event types, and how a push stands."""

from typing import Final

from django.db import models


class PoolRole(models.TextChoices):
    """What a company is in the ecosystem; it decides what it may do in the pools (OPCP 1.0, authentication)."""

    MO = "mo", "Mobility operator"
    CPO = "cpo", "Charge point operator"
    OEM = "oem", "Vehicle manufacturer"
    CPS = "cps", "Certificate provisioning service"
    ADMINISTRATION = "administration", "Ecosystem administration"


class IdentifierKind(models.TextChoices):
    """What tells whose a contract, a vehicle or a charging point is."""

    PROVIDER = "provider", "Provider id"
    WMI = "wmi", "World manufacturer identifier (WMI)"
    OPERATOR = "operator", "Operator id"


IDENTIFIED_BY: Final[dict[str, str]] = {
    PoolRole.MO: IdentifierKind.PROVIDER,
    PoolRole.OEM: IdentifierKind.WMI,
    PoolRole.CPO: IdentifierKind.OPERATOR,
}
"""A provisioning service and the administration act for others, and have none of their own."""


class PoolScope(models.TextChoices):
    """What a credential opens, by the names that OPCP has for its services."""

    ROOTS = "rcpservice", "Root certificate pool"
    PROVISIONING = "pcpservice", "Provisioning certificate pool"
    CONTRACTS = "ccpservice", "Contract certificate pool"
    WEBHOOKS = "webhooks", "Webhooks"


class CredentialKind(models.TextChoices):
    """By what a caller is known."""

    TOKEN = "token", "Bearer token"  # the kind, not a token
    CERTIFICATE = "certificate", "Client certificate"


class RootType(models.TextChoices):
    """For which chains a root is an anchor."""

    V2G = "V2G", "V2G root"
    MO = "MO", "Mobility operator root"
    OEM = "OEM", "Vehicle manufacturer root"
    PE = "PE", "Private environment root"


ANCHORS_OF_VEHICLES: Final = (RootType.OEM, RootType.V2G)
ANCHORS_OF_CONTRACTS: Final = (RootType.MO, RootType.V2G)
ANCHORS_OF_SIGNERS: Final = (RootType.V2G,)
"""ISO 15118: a vehicle's chain ends at an OEM or a V2G root, a contract's at an MO or a V2G root, a provisioning
service's at a V2G root."""


class Namespace(models.TextChoices):
    """The edition of ISO 15118 that contract data is made for, by the namespace of its message definitions."""

    ISO_2 = "urn:iso:15118:2:2013:MsgDef", "ISO 15118-2"
    ISO_20 = "urn:iso:15118:20:2022:MsgDef", "ISO 15118-20"


OTHER_SPELLINGS: Final[dict[str, str]] = {"urn:iso:15118:20:2020:MsgDef": Namespace.ISO_20}
"""The published documents name the second edition by two years."""


class PoolEvent(models.TextChoices):
    """What a webhook can be told (OPCP webhooks 1.0, payload 1.0.1)."""

    ROOT_ADDED = "root.cert.added", "A root was added"
    ROOT_EXPIRED = "root.cert.expired", "A root expired"
    ROOT_REVOKED = "root.cert.revoked", "A root was taken out"
    PROVISIONING_UPDATED = "mo.prov.cert.updated", "A vehicle has another provisioning certificate"
    PROVISIONING_DELETED = "mo.prov.cert.deleted", "A provisioning certificate was deleted"
    CONTRACT_CREATED = "oem.contract.created", "A contract was published"
    CONTRACT_UPDATED = "oem.contract.updated", "A contract was updated"
    CONTRACT_DELETED = "oem.contract.deleted", "A contract was deleted"
    QUEUED = "mo.contract.queued.to.oem", "The manufacturer will be told of a contract"
    CREATED_SENT = "mo.contract.created.sent.to.oem", "The manufacturer was told of a new contract"
    UPDATED_SENT = "mo.contract.updated.sent.to.oem", "The manufacturer was told of an updated contract"
    DELETED_SENT = "mo.contract.deleted.sent.to.oem", "The manufacturer was told of a deleted contract"
    REJECTED = "mo.contract.rejected.by.oem", "The manufacturer refused a contract"
    DELIVERED = "mo.contract.delivered.to.oem", "The manufacturer fetched a contract"


SENT_TO_OEM: Final[dict[str, str]] = {
    PoolEvent.CONTRACT_CREATED: PoolEvent.CREATED_SENT,
    PoolEvent.CONTRACT_UPDATED: PoolEvent.UPDATED_SENT,
    PoolEvent.CONTRACT_DELETED: PoolEvent.DELETED_SENT,
}
"""What the mobility operator hears once the manufacturer has taken a push."""


class PushState(models.TextChoices):
    """How a push stands."""

    WAITING = "waiting", "On its way"
    DELIVERED = "delivered", "Delivered"
    DEAD = "dead", "Given up"


PUSH_COLOURS: Final[dict[str, str]] = {
    PushState.WAITING: "info",
    PushState.DELIVERED: "success",
    PushState.DEAD: "danger",
}


class ChangeKind(models.TextChoices):
    """What became of something in the pools."""

    ROOT_ADDED = "root_added", "Root added"
    ROOT_REMOVED = "root_removed", "Root taken out"
    PROVISIONING_ADDED = "provisioning_added", "Provisioning certificate added"
    PROVISIONING_UPDATED = "provisioning_updated", "Provisioning certificate updated"
    PROVISIONING_DELETED = "provisioning_deleted", "Provisioning certificate deleted"
    CONTRACT_PUBLISHED = "contract_published", "Contract published"
    CONTRACT_UPDATED = "contract_updated", "Contract updated"
    CONTRACT_DELETED = "contract_deleted", "Contract deleted"
    CONTRACT_REVOKED = "contract_revoked", "Contract blocked as revoked"
    DEFAULT_CHOSEN = "default_chosen", "Default contract chosen"
