"""Provisioning in the console."""

from provisioning.admin import cases, evidence, ownership, verbs
from provisioning.pools import admin as pools

__all__ = ["cases", "evidence", "ownership", "pools", "verbs"]
