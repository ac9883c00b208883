"""Names of the columns that the window operators add to the user's own."""

from __future__ import annotations

from streamlab.core.column_names.own_columns import own

PANE = own("pane")
"""Start of the pane that a row is in (Int64, µs): rows of one pane are in the same windows."""

START = own("start")
"""Start of a window (Int64, µs)."""

END = own("end")
"""End of a window, exclusive (Int64, µs)."""

DUE = own("due")
"""Sessions: until when the state row need not be looked at, at most the end of its session (Int64, µs)."""

CLOSED = own("closed")
"""Grids: windows that end at or before this (Int64, µs) had closed when a row came, and go without it."""

FINAL = own("final")
"""Windows that end at or before this (Int64, µs) had closed for good when a row came."""

ROWS = own("rows")
"""How many input rows a state row stands for (Int64); only there when a trigger counts rows."""
