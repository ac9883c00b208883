"""Values that every layer shares: errors, time, messages, changelogs, windows, options. No behaviour that does I/O."""
