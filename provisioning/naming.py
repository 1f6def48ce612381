"""EMAIDs and PCIDs of cases, in the one spelling by which they are compared."""

from bfcerts import identifiers
from bfcerts.identifiers import IdentifierError
from inventory.errors import InvalidInputError
from inventory.purposes import ISO15118_CONTRACT, Purpose

LONGEST_INSTANCE = 28
"""Of an EMAID; CharIN's interface allows more than ISO 15118-2 does."""


def slot_of(entry: Purpose, slot: str) -> str:
    """The slot of a case as it is stored: of a contract, the EMAID without separators and check digit.

    :raises InvalidInputError: when it is no EMAID.
    """
    entry.check_slot(slot)
    return emaid_key(slot) if entry.key == ISO15118_CONTRACT.key else slot


def emaid_key(text: str) -> str:
    """An EMAID without separators and check digit; empty for an empty text.

    :raises InvalidInputError: when it is none.
    """
    try:
        return identifiers.emaid(text, longest_instance=LONGEST_INSTANCE).key if text else ""
    except IdentifierError as error:
        raise InvalidInputError(error.message) from None


def pcid_key(text: str) -> str:
    """A PCID in capitals; empty for an empty text.

    :raises InvalidInputError: when it is none.
    """
    try:
        return identifiers.pcid(text).key if text.strip() else ""
    except IdentifierError as error:
        raise InvalidInputError(error.message) from None
