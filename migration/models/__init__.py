"""The migration app's tables, one aggregate a file."""

from migration.models.authorization_key import AuthorizationKey
from migration.models.breaker import Breaker
from migration.models.case import MigrationCase
from migration.models.case_tally import CaseTally
from migration.models.key_rotation import KeyRotation
from migration.models.known_default_key import KnownDefaultKey
from migration.models.recovery_door import RecoveryDoor
from migration.models.rollout import MigrationRollout
from migration.models.rotation_turn import RotationTurn
from migration.models.wave import Wave
from migration.models.window import Blackout, MigrationWindow

__all__ = [
    "AuthorizationKey",
    "Blackout",
    "Breaker",
    "CaseTally",
    "KeyRotation",
    "KnownDefaultKey",
    "MigrationCase",
    "MigrationRollout",
    "MigrationWindow",
    "RecoveryDoor",
    "RotationTurn",
    "Wave",
]
