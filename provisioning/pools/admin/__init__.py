"""The pools in the console."""

from provisioning.pools.admin import contents, nodes, webhooks

__all__ = ["contents", "nodes", "webhooks"]
