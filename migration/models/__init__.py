"""The migration app's tables, one aggregate a file."""

from migration.models.authorization_key import AuthorizationKey

__all__ = ["AuthorizationKey"]
