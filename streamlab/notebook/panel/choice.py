"""What a panel's user has chosen to see: the tab, and of each table the mode, order, condition and page."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

_T = TypeVar("_T", bound=msgspec.Struct)
Tab = Literal["results", "time", "flow", "checkpoints", "log"]
TABS: tuple[Tab, ...] = ("results", "time", "flow", "checkpoints", "log")
Table = Literal["results", "past", "panes", "late", "splits", "letters"]
Mode = Literal["update", "append", "changelog"]
MODES: dict[Mode, str] = {
    "update": "table as it is now",
    "append": "rows as they come",
    "changelog": "every change",
}
"""Modes of the results, and how they are called."""
MOST_ROWS = 500
"""Rows that a page has at most."""


class TableChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has been chosen of one table."""

    mode: Mode = "update"
    sort: int | None = None
    """Column to sort by, by its place; None is the order that tells most."""
    descending: bool = False
    where: str = ""
    """Text to look for, or a condition in SQL."""
    page: int = 0
    rows: int = 10
    """Rows on a page."""

    def changed(self, **fields: Any) -> TableChoice:
        """Return the choice after a click; whoever chooses other rows is on their first page.

        Raises
        ------
        msgspec.ValidationError
            If there is no such field, or its value cannot be.

        Examples
        --------
        >>> TableChoice(page=7).changed(where="JFK").page, TableChoice().changed(rows=10_000).rows
        (0, 500)
        """
        if "mode" in fields:
            fields = {"sort": None, "descending": False, **fields}
        chosen = _converted(self, {"page": 0, **fields}, TableChoice)
        return msgspec.structs.replace(chosen, rows=max(1, min(MOST_ROWS, chosen.rows)), page=max(0, chosen.page))


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that has been chosen; a new value for each click."""

    tab: Tab = "results"
    results: TableChoice = TableChoice()
    """Of the result table."""
    past: TableChoice = TableChoice()
    """Of the table at a checkpoint."""
    panes: TableChoice = TableChoice()
    """Of the windows."""
    late: TableChoice = TableChoice()
    """Of the late rows."""
    splits: TableChoice = TableChoice()
    """Of the splits of the sources."""
    letters: TableChoice = TableChoice()
    """Of the input that could not be understood."""
    at: int | None = None
    """The checkpoint to look into; None is the newest."""
    part: str = ""
    """What to see of it: a name from its list, or the result table."""

    def changed(self, *, of: Table | None = None, **fields: Any) -> Choice:
        """Return the choice after a click, in one of the tables or elsewhere.

        Raises
        ------
        msgspec.ValidationError
            If there is no such field, or its value cannot be.

        Examples
        --------
        >>> Choice().changed(of="results", page=2).changed(tab="flow").results.page
        2
        """
        if of is not None:
            return msgspec.structs.replace(self, **{of: getattr(self, of).changed(**fields)})
        if "part" in fields:
            fields = {"past": msgspec.structs.replace(self.past, sort=None, where="", page=0), **fields}
        return _converted(self, fields, Choice)


def _converted(old: _T, fields: dict[str, Any], kind: type[_T]) -> _T:
    return msgspec.convert({**msgspec.structs.asdict(old), **fields}, kind)
