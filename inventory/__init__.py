"""Certificate lifecycle: identities, records, jobs, policies, evidence, events. The source of truth."""
