"""Who does something: a person with permissions, or a part of the system that acts for a policy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inventory.errors import NotPermittedError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_PERSON = "person:"


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of a change, as the audit trail names it (`person:maria`, `policy:renewal`, `station:CS-1`)."""

    name: str
    user: "User | None" = None
    departed: bool = False
    """A person whose account is gone: named in what was done, and permitted nothing."""

    @classmethod
    def named(cls, name: str) -> "Actor":
        """Whoever is stored by name alone: a part of the system, or a person who has no account any more."""
        return cls(name=name, departed=name.startswith(_PERSON))

    @classmethod
    def person(cls, user: "User") -> "Actor":
        return cls(name=f"{_PERSON}{user.get_username()}", user=user)

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
        permission = verb if "." in verb else f"inventory.{verb}"
        if self.departed:
            raise NotPermittedError(
                f"{self.name.removeprefix(_PERSON)} has no account any more, so nothing is done in that name. Have "
                f"somebody with the permission “{permission}” do it."
            )
        if self.user is None:
            return
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
