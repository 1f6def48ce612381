"""The relay: a charger's other business goes on to the operator's own CSMS, and back."""
