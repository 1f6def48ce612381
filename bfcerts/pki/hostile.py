"""What a parser may raise on bytes from a stranger."""

# asn1crypto parses lazily and raises these on bytes that are not what they claim to be (seen by fuzzing, see
# tests/pki/test_hostile.py). Nothing but reading of foreign bytes may stand in a block that catches them.
READ_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
