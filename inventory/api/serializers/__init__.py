"""How objects are shown and what requests carry."""
