"""The closed sets of AuthorizationKeys: states with their table of transitions, stages, sources and reasons."""

from django.db import models


class KeyState(models.TextChoices):
    """The life of an AuthorizationKey (domain.md)."""

    PENDING = "pending", "Pending"
    ACTIVE = "active", "Active"
    RETIRING = "retiring", "Retiring"
    RETIRED = "retired", "Retired"
    REVOKED = "revoked", "Revoked"


KEY_TRANSITIONS: dict[str, frozenset[str]] = {
    KeyState.PENDING: frozenset({KeyState.ACTIVE, KeyState.REVOKED}),
    KeyState.ACTIVE: frozenset({KeyState.RETIRING, KeyState.REVOKED}),
    KeyState.RETIRING: frozenset({KeyState.RETIRED, KeyState.REVOKED}),
    KeyState.RETIRED: frozenset(),
    KeyState.REVOKED: frozenset(),
}
"""The transition table of domain.md; the database's trigger is built from the same."""

ACCEPTED_KEY_STATES = (KeyState.PENDING, KeyState.ACTIVE, KeyState.RETIRING)
"""Keys in these states open the door; a retiring one until its window ends."""


class KeySource(models.TextChoices):
    """Where the secret of a key comes from."""

    GENERATED = "generated", "Generated"
    SET = "set", "Set by a person"
    IMPORTED = "imported", "Imported"


class RotationStage(models.TextChoices):
    """How far the delivery of a new key has come."""

    DELIVERING = "delivering", "Being delivered"
    RETRYING = "retrying", "No answer came; it is sent again"
    RECONNECTING = "reconnecting", "The charger has to come back with it"
    SUCCEEDED = "succeeded", "In use"
    FAILED = "failed", "Failed"


OPEN_STAGES = (RotationStage.DELIVERING, RotationStage.RETRYING, RotationStage.RECONNECTING)


class DeliveryChannel(models.TextChoices):
    """How a new key reaches its charger."""

    OVER_THE_AIR = "over_the_air", "Over the air"
    OUT_OF_BAND = "out_of_band", "Set on site"


class RotationReason(models.TextChoices):
    """Why a key has to be replaced (the rotation triggers of the specification)."""

    NO_KEY = "no_key", "It has no AuthorizationKey"
    DEFAULT = "default", "Its key is a vendor's default"
    SHARED = "shared", "Another charger uses the same key"
    EXPOSURE = "exposure", "Its key is probably exposed"
    INSTALLER_TRANSFER = "installer_transfer", "An installer who left knows its key"
    REFURBISHMENT = "refurbishment", "It was refurbished"
    BOARD_REPLACEMENT = "board_replacement", "Its communication board was replaced"
    REVERTED = "reverted", "It went back to its former key"
    OVER_AGE = "over_age", "Its key is too old"
    HYGIENE = "hygiene", "Its key was not made here and has never been rotated"


FLAGS = (
    RotationReason.EXPOSURE,
    RotationReason.INSTALLER_TRANSFER,
    RotationReason.REFURBISHMENT,
    RotationReason.BOARD_REPLACEMENT,
)
"""What only people know of; they mark the key with it."""
FLAG_CHOICES = [(reason.value, reason.label) for reason in FLAGS]


class DoorKind(models.TextChoices):
    """Which narrow door is open for the recovery of one charger."""

    PROFILE_2_KEY = "profile_2_key", "Profile 2 with a fresh key"
    EXPIRED_CERTIFICATE = "expired_certificate", "Its expired certificate, for renewal only"


class RecoveryCause(models.TextChoices):
    """Why a charger on Profile 3 needs a narrow door."""

    EXPIRED = "expired", "Its certificate expired"
    REVOKED = "revoked", "Its certificate was revoked"
    LOST = "lost", "It lost its certificate or its key"
