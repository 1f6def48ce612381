"""The errors of the service model, as they travel."""


class ServiceError(Exception):
    """An error answer: its name in the service model, its text, and the HTTP status that it is sent with."""

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.status = status
