"""The inventory's errors: each says what is wrong, with what, and what to do, in words for the user.

Admin, API (RFC 9457 problem details) and the command line show the same sentence. `code` is for programs.
"""

from collections.abc import Mapping
from typing import Any


class InventoryError(Exception):
    """Base of every refusal by the inventory."""

    code = "refused"
    status = 409

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    @property
    def extra(self) -> dict[str, Any]:
        """What else programs are told, beside code and sentence; plain JSON."""
        return {}


class NotPermittedError(InventoryError):
    """The actor lacks the permission for this verb."""

    code = "not_permitted"
    status = 403


class TransitionRefusedError(InventoryError):
    """The record's state, or a rule of its lifecycle, does not allow this."""

    code = "transition_refused"


class LastCredentialError(TransitionRefusedError):
    """The step would take the identity's last working credential."""

    code = "last_working_credential"


class HeldBackError(TransitionRefusedError):
    """A gate is closed, such as that of a trust anchor rollout."""

    code = "held_back"


class ConflictingJobError(InventoryError):
    """Another open job already works on this."""

    code = "conflicting_job"


class InvalidInputError(InventoryError):
    """A value that was given cannot be used."""

    code = "invalid_input"
    status = 422


class ParametersError(InvalidInputError):
    """Parameters that cannot be used, all of them at once: a form says each at its field."""

    def __init__(self, places: Mapping[str, str]) -> None:
        super().__init__(" ".join(_of_place(name, told) for name, told in places.items()))
        self.places = dict(places)
        """By the name of a parameter, what it needs, as “needs a whole number from 1 to 9.”

        Of one of a list of groups it is `waves/0/per_minute`. What concerns several parameters is a whole sentence, by
        no name.
        """

    @property
    def extra(self) -> dict[str, Any]:
        return {
            "errors": [
                {"pointer": f"/parameters/{name}".rstrip("/"), "detail": told[:1].upper() + told[1:]}
                for name, told in self.places.items()
            ]
        }


def _of_place(name: str, told: str) -> str:
    group, _, rest = name.partition("/")
    number, _, key = rest.partition("/")
    return f"{key} of {group.removesuffix('s')} {int(number) + 1} {told}" if key else f"{name} {told}".strip()


class ChangedMeanwhileError(InventoryError):
    """Somebody else changed the object since it was read."""

    code = "changed_meanwhile"
    status = 412


class CsrRejectedError(InventoryError):
    """A certificate signing request failed policy; `reason_code` says which rule."""

    code = "csr_rejected"
    status = 422

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class UnattributedChangeError(InventoryError):
    """A change without an actor: a defect in the program, refused rather than left unaudited."""

    code = "unattributed_change"
    status = 500
