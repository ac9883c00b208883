"""Names of the columns that the window operators add to the user's own; users' names never start with ``__``."""

from __future__ import annotations

KEY_PREFIX = "__key_"
"""Before the name of a key: the key's value is carried beside an input column of the same name, which may differ."""

PANE = "__pane"
"""Start of the pane that a row is in (Int64, µs): rows of one pane are in the same windows."""

START = "__start"
"""Start of a window (Int64, µs)."""

END = "__end"
"""End of a window, exclusive (Int64, µs)."""

DUE = "__due"
"""Sessions: until when the state row need not be looked at, at most the end of its session (Int64, µs)."""

CLOSED = "__closed"
"""Grids: windows that end at or before this (Int64, µs) had closed when a row came, and go without it."""

FINAL = "__final"
"""Windows that end at or before this (Int64, µs) had closed for good when a row came."""

ROWS = "__rows"
"""How many input rows a state row stands for (Int64); only there when a trigger counts rows."""
