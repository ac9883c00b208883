"""What a panel's user has chosen to see: the tab, and of a table the mode, order, condition and page."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Tab = Literal["results", "time", "flow", "checkpoints", "log"]
TABS: tuple[Tab, ...] = ("results", "time", "flow", "checkpoints", "log")
Mode = Literal["update", "append", "changelog"]
MODES: dict[Mode, str] = {
    "update": "table as it is now",
    "append": "rows as they come",
    "changelog": "every change",
}
"""Modes of the results, and how they are called."""
MOST_ROWS = 500
"""Rows that a page has at most."""


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that has been chosen; a new value for each click."""

    tab: Tab = "results"
    mode: Mode = "update"
    sort: int | None = None
    """Column to sort by, by its place; None is the order that tells most."""
    descending: bool = False
    where: str = ""
    """Text to look for, or a condition in SQL."""
    page: int = 0
    rows: int = 10
    """Rows on a page."""
    at: int | None = None
    """The checkpoint at which the table is to be shown; None is now."""

    def changed(self, **fields: Any) -> Choice:
        """Return the choice after a click.

        Raises
        ------
        msgspec.ValidationError
            If there is no such field, or its value cannot be.

        Examples
        --------
        >>> Choice(page=7).changed(where="JFK").page, Choice().changed(rows=10_000).rows
        (0, 500)
        """
        if fields.keys() & {"mode", "where", "rows", "sort", "descending", "at"}:
            fields = {"page": 0, **fields}
        chosen = msgspec.convert({**msgspec.structs.asdict(self), **fields}, Choice)
        return msgspec.structs.replace(chosen, rows=max(1, min(MOST_ROWS, chosen.rows)), page=max(0, chosen.page))
