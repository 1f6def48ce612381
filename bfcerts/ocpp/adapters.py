"""Which adapter speaks with a station: the one of its subprotocol, or the variant that its charger family needs."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from bfcerts.ocpp.protocol import ProtocolAdapter
from bfcerts.ocpp.registry import ADAPTER_OPTION
from bfcerts.ocpp.v16 import OCPP16, OCPP16HasToBe, OCPP16LegacyTrigger
from bfcerts.ocpp.v201 import OCPP201

VARIANTS: Final[Mapping[str, type[OCPP16]]] = {
    "ocpp1.6-legacy-trigger": OCPP16LegacyTrigger,
    "ocpp1.6-iso15118": OCPP16HasToBe,
}
"""Variant of a family → its adapter. A family names one; its subprotocol must be the station's."""

logger = logging.getLogger(__name__)


class Adapters:
    """The adapters of one gateway, made once: they compile their schemas."""

    def __init__(self) -> None:
        versions: tuple[ProtocolAdapter, ...] = (OCPP201(), OCPP16())
        self._versions = {adapter.subprotocol: adapter for adapter in versions}
        self._variants: dict[str, ProtocolAdapter] = {name: variant() for name, variant in VARIANTS.items()}

    @property
    def subprotocols(self) -> list[str]:
        """What is offered, best first: of several that a station offers, the first of these is taken."""
        return list(self._versions)

    def of(self, subprotocol: str) -> ProtocolAdapter | None:
        return self._versions.get(subprotocol)

    def of_family(self, standard: ProtocolAdapter, options: Mapping[str, Any], station_id: str) -> ProtocolAdapter:
        """The variant that the door named, where there is one for the version that the station speaks."""
        name = options.get(ADAPTER_OPTION)
        if not name:
            return standard
        variant = self._variants.get(name)
        if variant is None or variant.subprotocol != standard.subprotocol:
            logger.warning(
                "%s speaks %s, for which there is no variant %s; it is spoken to by the standard",
                station_id,
                standard.subprotocol,
                name,
            )
            return standard
        return variant
