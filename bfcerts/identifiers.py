"""The identifiers of electric mobility: read as the field writes them, normalised, and checked, in one place.

Each has a `text` in one spelling, for people and for messages, and a `key` to compare and look up by, because the
same thing is written with hyphens, with asterisks, without either, and in both cases. A check digit that does not fit
is told and refuses nothing: live data often carries a wrong one.
"""

import re
from dataclasses import dataclass, field
from typing import Final

LONGEST_STATION_ID: Final = 48
_LONGEST_READ = 80
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# OCPP 2.0.1 part 2 §2.1.1: identifierString
_STATION_ID = re.compile(r"[A-Za-z0-9*\-_=:+|@.]{1,48}", re.ASCII)
# ISO 15118-2 annex H: the separator is a hyphen everywhere or nowhere. Some write an asterisk.
_EMAID_ISO = re.compile(r"([A-Z]{2})([-*]?)([0-9A-Z]{3})\2([0-9A-Z]{9})(?:\2([0-9A-Z]))?", re.ASCII)
# DIN SPEC 91286: six characters and a check digit, which became a part of the ISO form's nine.
_EMAID_DIN = re.compile(r"([A-Z]{2})([-*]?)([0-9A-Z]{3})\2([0-9A-Z]{6})\2([0-9X])", re.ASCII)
# CharIN's PKI interface lets the instance have 9 to 28 characters.
_EMAID_LONG = re.compile(r"([A-Z]{2})([-*]?)([0-9A-Z]{3})\2([0-9A-Z]{9,29})(?:\2([0-9A-Z]))?", re.ASCII)
_PCID = re.compile(r"[0-9A-Z]{17,18}", re.ASCII)
# ISO 3779: no I, O or Q.
_VIN = re.compile(r"[0-9A-HJ-NPR-Z]{17}", re.ASCII)
_WMI = re.compile(r"[0-9A-Z]{3}", re.ASCII)
_EVSE_ID = re.compile(r"([A-Z]{2})\*?([0-9A-Z]{3})\*?E([0-9A-Z*]{1,30})", re.ASCII)
_SECC_ID = re.compile(r"([A-Z]{2})[-*]?([0-9A-Z]{3})[-*]?S[-*]?([0-9A-Z]{32,55})[-*]?([0-9A-Z])", re.ASCII)
_LONGEST_SECC_ID = 64


class IdentifierError(ValueError):
    """A text that is not the identifier it should be; the message says what one looks like.

    :ivar code: emaid, pcid, vin, wmi, evse_id, secc_id or station_id.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Emaid:
    """Whose contract it is: country, provider, and the contract's number at that provider (ISO 15118-2 annex H).

    Two are equal without regard to a check digit.

    :ivar check_digit: as it came; empty where there was none.
    """

    country: str
    provider: str
    instance: str
    check_digit: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """Without separators and check digit: what pools normalise to and look up by."""
        return f"{self.country}{self.provider}{self.instance}"

    @property
    def text(self) -> str:
        """With hyphens, and the check digit if there was one."""
        parts = [self.country, self.provider, self.instance, *([self.check_digit] if self.check_digit else [])]
        return "-".join(parts)

    @property
    def provider_id(self) -> str:
        """Country and provider: by these five characters a scheme authorises a mobility operator."""
        return f"{self.country}{self.provider}"

    @property
    def expected_check_digit(self) -> str:
        """The check digit that belongs to it; empty for a longer instance, of which no rule is known."""
        return emaid_check_digit(self.key) if len(self.key) == 14 else ""

    @property
    def warning(self) -> str:
        """What is odd about it, as a sentence; empty where nothing is."""
        expected = self.expected_check_digit
        if not self.check_digit or not expected or self.check_digit == expected:
            return ""
        return f"The check digit of {self.text} should be {expected}; it is read all the same."


@dataclass(frozen=True)
class Pcid:
    """Which vehicle it is to Plug and Charge: the maker's code and a number of the maker's own."""

    key: str

    @property
    def text(self) -> str:
        return self.key

    @property
    def wmi(self) -> str:
        """The World Manufacturer Identifier, by which a scheme authorises a vehicle maker."""
        return self.key[:3]


@dataclass(frozen=True)
class EvseId:
    """Which EVSE it is (ISO 15118-2 annex H.2).

    :ivar outlet: the operator's number of it; separators inside it belong to the spelling, not to the number.
    """

    country: str
    operator: str
    outlet: str = field(compare=False)
    key: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """With separators after country and operator, as DE*ICE*E45B*78C."""
        return f"{self.country}*{self.operator}*E{self.outlet}"

    @property
    def operator_id(self) -> str:
        """Country and operator: by these five characters a scheme authorises an operator."""
        return f"{self.country}{self.operator}"


@dataclass(frozen=True)
class SeccId:
    """Which communication controller it is (ISO 15118-20).

    :ivar check_digit: the last character, whose rule is not public; it is kept as it came.
    """

    country: str
    operator: str
    controller: str
    check_digit: str

    @property
    def key(self) -> str:
        return f"{self.country}{self.operator}S{self.controller}{self.check_digit}"

    @property
    def text(self) -> str:
        """With hyphens, as DE-ICE-S-00003C4D557878675645330967543476-2."""
        return f"{self.country}-{self.operator}-S-{self.controller}-{self.check_digit}"

    @property
    def operator_id(self) -> str:
        return f"{self.country}{self.operator}"


def emaid(text: str, *, longest_instance: int = 9) -> Emaid:
    """Read an EMAID, in the form of ISO 15118 or of DIN SPEC 91286, which becomes the former.

    :param longest_instance: more than 9 for the schemes that allow it.
    :raises IdentifierError: when it is none.
    """
    upper = _upper(text)
    found = _EMAID_ISO.fullmatch(upper)
    if found is None and (din := _EMAID_DIN.fullmatch(upper)):
        country, _, provider, instance, check = din.groups()
        return Emaid(country, provider, f"00{instance}{check}")
    if found is None and longest_instance > 9:
        found = _EMAID_LONG.fullmatch(upper)
    if found is None or len(found[4]) > longest_instance:
        raise IdentifierError(
            "emaid",
            f"{_shown(text)} is no EMAID: two letters of the country, three characters of the provider and nine of the "
            "contract, with a check digit or without, as DE-8AA-001234567-0.",
        )
    return Emaid(found[1], found[3], found[4], found[5] or "")


def pcid(text: str) -> Pcid:
    """Read a PCID: 17 characters, or 18 with its check digit, of which no rule is public.

    :raises IdentifierError: when it is none.
    """
    upper = _upper(text)
    if not _PCID.fullmatch(upper):
        raise IdentifierError("pcid", f"{_shown(text)} is no PCID: 17 or 18 letters and digits, as HUBOPENPROV000001.")
    return Pcid(upper)


def vin(text: str) -> str:
    """A vehicle identification number in capitals (ISO 3779). Its check digit means something in North America only.

    :raises IdentifierError: when it is none.
    """
    upper = _upper(text)
    if not _VIN.fullmatch(upper):
        raise IdentifierError(
            "vin", f"{_shown(text)} is no VIN: 17 letters and digits without I, O and Q, as WVWZZZ1JZXW000001."
        )
    return upper


def wmi(text: str) -> str:
    """A World Manufacturer Identifier in capitals (ISO 3780).

    :raises IdentifierError: when it is none.
    """
    upper = _upper(text)
    if not _WMI.fullmatch(upper):
        raise IdentifierError("wmi", f"{_shown(text)} is no WMI: three letters and digits, as WVW.")
    return upper


def evse_id(text: str) -> EvseId:
    """Read an EVSE ID, with separators or without.

    :raises IdentifierError: when it is none.
    """
    upper = _upper(text)
    found = _EVSE_ID.fullmatch(upper)
    if found is None or not found[3].replace("*", ""):
        raise IdentifierError(
            "evse_id",
            f"{_shown(text)} is no EVSE ID: two letters of the country, three characters of the operator, E, and 1 to "
            "30 characters, as DE*ICE*E45B*78C.",
        )
    return EvseId(found[1], found[2], found[3], upper.replace("*", ""))


def secc_id(text: str) -> SeccId:
    """Read a SECC ID, with separators or without.

    :raises IdentifierError: when it is none.
    """
    upper = _upper(text)
    found = _SECC_ID.fullmatch(upper) if len(upper) <= _LONGEST_SECC_ID else None
    if found is None:
        raise IdentifierError(
            "secc_id",
            f"{_shown(text)} is no SECC ID: country, operator, S, at least 32 characters of the controller and a check "
            "digit, as DE-ICE-S-00003C4D557878675645330967543476-2.",
        )
    return SeccId(found[1], found[2], found[3], found[4])


def is_station_id(text: str) -> bool:
    """Whether a station of this name could ever connect (OCPP 2.0.1 part 2 §2.1.1)."""
    return _STATION_ID.fullmatch(text) is not None


def station_id(text: str) -> str:
    """A charge point id, exactly as the charger has it: capitals and small letters are different stations.

    :raises IdentifierError: when no station of this name could ever connect.
    """
    if not is_station_id(text):
        raise IdentifierError(
            "station_id",
            f"{text[:60]!r} is no charge point id: OCPP allows 1 to {LONGEST_STATION_ID} letters, "
            "digits and the characters * - _ = : + | @ . and nothing else. Write it as the charger has it.",
        )
    return text


def emaid_check_digit(first_14: str) -> str:
    """The check digit of an EMAID's first 14 characters.

    Each character is a pair of bits and a pair of trits. Weighted with rising powers of one matrix modulo 2 and of
    another modulo 3, those of all 15 characters add up to nothing.
    """
    bits, trits = (0, 0), (0, 0)
    bit_weight, trit_weight = _BIT_MATRIX, _TRIT_MATRIX
    for character in first_14:
        bit_pair, trit_pair = _pairs(_DIGITS.index(character))
        bits = _added(bits, _weighted(bit_pair, bit_weight, 2), 2)
        trits = _added(trits, _weighted(trit_pair, trit_weight, 3), 3)
        bit_weight, trit_weight = _product(bit_weight, _BIT_MATRIX, 2), _product(trit_weight, _TRIT_MATRIX, 3)
    for place, character in enumerate(_DIGITS):
        bit_pair, trit_pair = _pairs(place)
        balanced = _added(bits, _weighted(bit_pair, bit_weight, 2), 2)
        if (balanced, _added(trits, _weighted(trit_pair, trit_weight, 3), 3)) == ((0, 0), (0, 0)):
            return character
    raise AssertionError("both matrices can be inverted, so one character always fits")


_Pair = tuple[int, int]
_Matrix = tuple[_Pair, _Pair]
_BIT_MATRIX: Final[_Matrix] = ((0, 1), (1, 1))
_TRIT_MATRIX: Final[_Matrix] = ((0, 1), (1, 2))


def _pairs(place: int) -> tuple[_Pair, _Pair]:
    high, low = divmod(place, 9)
    return divmod(high, 2), divmod(low, 3)


def _weighted(pair: _Pair, weight: _Matrix, modulus: int) -> _Pair:
    (a, b), (c, d) = weight
    return (pair[0] * a + pair[1] * c) % modulus, (pair[0] * b + pair[1] * d) % modulus


def _added(one: _Pair, other: _Pair, modulus: int) -> _Pair:
    return (one[0] + other[0]) % modulus, (one[1] + other[1]) % modulus


def _product(one: _Matrix, other: _Matrix, modulus: int) -> _Matrix:
    return _weighted(one[0], other, modulus), _weighted(one[1], other, modulus)


def _upper(text: str) -> str:
    # A foreign letter may become two plain ones as a capital (ß, SS): only plain ones are turned.
    return text.strip().upper() if text.isascii() and len(text) <= _LONGEST_READ else ""


def _shown(text: str) -> str:
    return f"{text[:_LONGEST_READ]!r}"
