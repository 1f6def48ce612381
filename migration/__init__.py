"""The move of chargers to Profile 3, and the AuthorizationKeys they use until then."""
