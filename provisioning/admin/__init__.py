"""Provisioning in the console."""

from provisioning.admin import cases, evidence, ownership, verbs

__all__ = ["cases", "evidence", "ownership", "verbs"]
