"""What a parser may raise on bytes from a stranger."""

# asn1crypto parses lazily. Fuzzing saw it raise ValueError and IndexError (tests/pki/test_hostile.py); the others are
# what any such code can raise, and no traceback may ever reach a station. Nothing but reading of foreign bytes may
# stand in a block that catches them.
READ_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
