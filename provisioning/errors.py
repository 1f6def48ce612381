"""What provisioning refuses, beside what the inventory does."""

from collections.abc import Sequence
from typing import Any

from inventory.errors import InventoryError, TransitionRefusedError


class CaseOpenError(InventoryError):
    """Another case of the same identity, purpose and slot is open."""

    code = "case_open"


class PrerequisitesError(TransitionRefusedError):
    """Prerequisites of the path are not met."""

    code = "prerequisites_missing"

    def __init__(self, message: str, keys: Sequence[str]) -> None:
        super().__init__(message)
        self.keys = list(keys)

    @property
    def extra(self) -> dict[str, Any]:
        return {"prerequisites": self.keys}


class StaleEvidenceError(TransitionRefusedError):
    """There is no evidence that is fresh enough for this."""

    code = "no_fresh_evidence"
