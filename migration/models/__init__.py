"""The migration app's tables, one aggregate a file."""

from migration.models.authorization_key import AuthorizationKey
from migration.models.key_rotation import KeyRotation
from migration.models.known_default_key import KnownDefaultKey
from migration.models.recovery_door import RecoveryDoor

__all__ = ["AuthorizationKey", "KeyRotation", "KnownDefaultKey", "RecoveryDoor"]
