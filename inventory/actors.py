"""Who does something: a person with permissions, or a part of the system that acts for a policy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inventory.errors import NotPermittedError

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of a change, as the audit trail names it (`person:maria`, `policy:renewal`, `station:CS-1`)."""

    name: str
    user: "User | None" = None

    @classmethod
    def person(cls, user: "User") -> "Actor":
        return cls(name=f"person:{user.get_username()}", user=user)

    @classmethod
    def system(cls, part: str) -> "Actor":
        """A policy, worker or gateway; it acts with the authority of the code that names it."""
        return cls(name=f"system:{part}")

    @classmethod
    def station(cls, station_id: str) -> "Actor":
        return cls(name=f"station:{station_id}")

    def require(self, verb: str) -> None:
        """Check the one permission of a verb, as `revoke_certificaterecord` of inventory (FR-003).

        :raises NotPermittedError: for a person without it. System actors have no accounts; their permission is
            that only the policy, the worker or the gateway can name them.
        """
        if self.user is None:
            return
        permission = verb if "." in verb else f"inventory.{verb}"
        if not self.user.is_active or not self.user.has_perm(permission):
            raise NotPermittedError(
                f"{self.user.get_username()} may not do this: the permission “{permission}” is missing. "
                "Ask an administrator for it."
            )

    def may(self, verb: str) -> bool:
        """Whether `require` would pass; for showing only the actions that this operator may take now."""
        try:
            self.require(verb)
        except NotPermittedError:
            return False
        return True
