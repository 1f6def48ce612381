"""What can go wrong while measuring."""


class BenchError(Exception):
    """A measurement could not be made; the message says which part failed and where to look."""
