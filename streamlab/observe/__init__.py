"""Names of metrics with kind, unit and meaning; status values of jobs; the event log."""
