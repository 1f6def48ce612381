"""PostgreSQL as Django has it, in which the suite may empty the append-only tables between tests."""
