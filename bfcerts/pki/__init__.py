"""X.509 only: requests, chains, fingerprints, profiles. Knows nothing of a certificate's lifecycle."""
