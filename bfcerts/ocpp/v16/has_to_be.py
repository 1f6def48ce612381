"""Stations whose Plug and Charge is that of the older dialect, of 2019. Everything else is plain 1.6."""

from bfcerts.ocpp.v16.adapter import OCPP16
from bfcerts.ocpp.v16.plug_and_charge import HAS_TO_BE_DIALECT


class OCPP16HasToBe(OCPP16):
    """OCPP 1.6J for a charger family whose stations know the vendor id "iso15118"."""

    plug_and_charge = HAS_TO_BE_DIALECT
