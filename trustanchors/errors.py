"""The refusals of the Trust Anchor Release Manager; each says what is wrong, with what, and what to do now."""

from inventory.errors import InvalidInputError, TransitionRefusedError


class AnchorRefusedError(InvalidInputError):
    """A certificate that cannot be a trust anchor; `reason_code` says which rule it breaks."""

    code = "anchor_refused"

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class BundleRefusedError(TransitionRefusedError):
    """A bundle that cannot be made or changed so."""

    code = "bundle_refused"


class ReleaseRefusedError(TransitionRefusedError):
    """A release that would leave chargers without a way in, or that cannot reach what it promises."""

    code = "release_refused"
