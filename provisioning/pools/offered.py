"""What this operator may do with something of the pools now, and what it would mean."""

from functools import partial

from inventory.actors import Actor
from inventory.services.actions import AvailableAction, offered
from provisioning.models import (
    PoolContract,
    PoolCredential,
    PoolNode,
    PoolProvisioningCertificate,
    PoolPush,
    PoolRoot,
    PoolWebhook,
)
from provisioning.pools.choices import IDENTIFIED_BY, PushState


def for_node(node: PoolNode, actor: Actor) -> list[AvailableAction]:
    """The verbs of a node."""
    closed = "" if node.closed_at is None else "The node is closed; open a new one."
    nameless = "" if node.role in IDENTIFIED_BY else f"A {node.get_role_display().lower()} has none of its own."
    offer = partial(offered, actor=actor)
    return [
        offer(
            "confirm_identifier",
            "Confirm an identifier",
            f"{node.name} can publish and read under it from now on. Confirm only what whoever gives such identifiers "
            "out has confirmed to you.",
            permission="provisioning.confirm_poolnode",
            obstacle=closed or nameless,
        ),
        offer(
            "end_identifier",
            "End an identifier",
            f"{node.name} does nothing under it any more, and the next cleansing takes what it has under it.",
            permission="provisioning.close_poolnode",
            obstacle=closed or nameless,
            dangerous=True,
        ),
        offer(
            "give_token",
            "Give a token",
            f"Whoever shows it speaks for {node.name}. It is shown on this page only.",
            permission="provisioning.give_poolcredential",
            obstacle=closed,
        ),
        offer(
            "give_certificate",
            "Let a client certificate in",
            f"Whoever proves its key in a TLS handshake speaks for {node.name}, until the certificate ends.",
            permission="provisioning.give_poolcredential",
            obstacle=closed,
        ),
        offer(
            "close",
            "Close the node",
            f"Every credential, webhook and identifier of {node.name} ends, and the next cleansing takes what it has "
            "in the pools.",
            permission="provisioning.close_poolnode",
            obstacle=closed,
            dangerous=True,
        ),
    ]


def for_credential(credential: PoolCredential, actor: Actor) -> list[AvailableAction]:
    """The verb of a credential."""
    return [
        offered(
            "revoke",
            "Revoke",
            "Whoever shows it is refused from now on.",
            actor=actor,
            permission="provisioning.revoke_poolcredential",
            obstacle="" if credential.revoked_at is None else "It is revoked already.",
            dangerous=True,
        )
    ]


def for_root(root: PoolRoot, actor: Actor) -> list[AvailableAction]:
    """The verb of a root."""
    return [
        offered(
            "remove",
            "Take out",
            "Nothing verifies under it any more, and the next cleansing takes every vehicle and contract that stands "
            "on it.",
            actor=actor,
            permission="provisioning.remove_poolroot",
            obstacle="" if root.removed_at is None else "It is not in the pool any more.",
            dangerous=True,
        )
    ]


def for_provisioning_certificate(certificate: PoolProvisioningCertificate, actor: Actor) -> list[AvailableAction]:
    """The verb of a provisioning certificate."""
    return [
        offered(
            "remove",
            "Delete with its contracts",
            f"{certificate.pcid} and every contract of it leave the pools. Whoever asked to be told is told.",
            actor=actor,
            permission="provisioning.remove_poolprovisioningcertificate",
            obstacle="",
            dangerous=True,
        )
    ]


def for_contract(contract: PoolContract, actor: Actor) -> list[AvailableAction]:
    """The verbs of a contract."""
    offer = partial(offered, actor=actor)
    return [
        offer(
            "block",
            "Block as revoked",
            f"{contract.emaid} is given to no car from now on, and cleansed next. Its operator can publish it anew.",
            permission="provisioning.revoke_poolcontract",
            obstacle="" if contract.revoked_at is None else "It is blocked already.",
            dangerous=True,
        ),
        offer(
            "remove",
            "Delete",
            f"{contract.emaid} leaves the pool, for every edition of ISO 15118. The manufacturer is told.",
            permission="provisioning.remove_poolcontract",
            obstacle="",
            dangerous=True,
        ),
    ]


def for_webhook(webhook: PoolWebhook, actor: Actor) -> list[AvailableAction]:
    """Switching a webhook on or off: whichever it is not."""
    gone = "" if webhook.removed_at is None else "Its node has deleted it."
    offer = partial(offered, actor=actor, permission="provisioning.switch_poolwebhook", obstacle=gone)
    if webhook.enabled:
        return [offer("disable", "Switch off", "Nothing is sent there, and what waits goes on waiting.")]
    return [offer("enable", "Switch on", "What waits is sent at once.")]


def for_push(push: PoolPush, actor: Actor) -> list[AvailableAction]:
    """The verb of a push."""
    return [
        offered(
            "send_again",
            "Send again",
            "It is sent at once under its own event id, and tried for three days again.",
            actor=actor,
            permission="provisioning.resend_poolpush",
            obstacle="" if push.state == PushState.DEAD else "Only what was given up is sent again.",
        )
    ]
