"""The services of the migration app."""
