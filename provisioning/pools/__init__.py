"""Our own pools of Plug and Charge: contract certificates, provisioning certificates and roots (OPCP v1).

For closed fleets that have no external scheme, and as the real counterpart of the scheme's adapters in tests. Private
keys inside contract data are encrypted for the vehicle by whoever published them: here they are opaque bytes, which
stand in one column, are answered from there, and are in no log, history row, task or error.
"""
