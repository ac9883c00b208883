"""Public test kit: operator harness, seeded simulation, batch oracle, data strategies."""
