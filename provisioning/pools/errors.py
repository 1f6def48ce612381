"""What the pools refuse: each says what is wrong, with what, and what to do. OPCP's own sentences where it has some."""

from inventory.errors import InventoryError


class PoolError(InventoryError):
    """Base of what a caller of the pools is told; `status` is its HTTP status."""

    code = "pool_refused"
    status = 400


class UnknownCallerError(PoolError):
    """No valid credential was shown."""

    code = "unknown_caller"
    status = 401


class NotYoursError(PoolError):
    """The caller is known, and may not do this or not with this."""

    code = "not_yours"
    status = 403


class NotInPoolError(PoolError):
    """What was asked for is not there."""

    code = "not_in_pool"
    status = 404


class NothingToAnswerError(PoolError):
    """A contract is there, and cannot be answered in EXI, because only its XML was published."""

    code = "no_exi"
    status = 503


class TooManyRequestsError(PoolError):
    """The caller goes beyond its rate.

    :ivar seconds: until it may ask again.
    """

    code = "too_many_requests"
    status = 429

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds
