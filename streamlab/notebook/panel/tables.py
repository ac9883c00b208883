"""The tables of a job as a panel shows them: which rows, which of them are new, and how they travel."""

from __future__ import annotations

import time
from typing import Any, Protocol

import polars as pl

from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.choice import MODES, TableChoice
from streamlab.notebook.panel.results import Marks, Page, count_text, page_of

_ARRIVAL = "newest first"
_SIGNS = "+I: a new row, -U and +U: a row before and after it changed, -D: a row that is gone"


class TableOwner(Protocol):
    """What must be known of a job to show its tables."""

    @property
    def key_columns(self) -> tuple[str, ...] | None:
        """Columns that identify a row."""
        ...

    def results(self) -> pl.DataFrame:
        """Return the table as it is now."""
        ...

    def newest_changes(self) -> pl.DataFrame:
        """Return the newest changes, newest first, with their kind in ``op``."""
        ...


class ResultPages:
    """Gives the chosen page of a job's results, again and again.

    Parameters
    ----------
    job
        The job.
    """

    def __init__(self, job: TableOwner) -> None:
        self._job = job
        self._marks = Marks()

    def page(self, choice: TableChoice) -> Page:
        """Return the chosen page, its new and changed rows marked."""
        if choice.mode == "update":
            rows, page = page_of(self._job.results(), choice)
            keys = self._job.key_columns
        else:
            changes = self._job.newest_changes()
            if choice.mode == "append":
                changes = changes.filter(pl.col("op") == "+I").drop("op")
            order = f"{_ARRIVAL} · {_SIGNS}" if choice.mode == "changelog" else _ARRIVAL
            rows, page = page_of(changes, choice, in_order=order)
            keys = None
        # Of a change, its sign says already what it is.
        marks = self._marks.of(rows, keys, choice, time.monotonic()) if choice.mode != "changelog" else ()
        return Page(page.shown, page.whole, page.first, marks, page.error)


def table_values(page: Page, empty: str = "no rows") -> dict[str, Any]:
    """Return a page as plain values, its rows as lists of text."""
    return {
        "columns": list(page.shown.columns),
        "dtypes": list(page.shown.dtypes),
        "numeric": list(page.shown.numeric),
        "rows": [list(row) for row in page.shown.rows],
        "height": page.shown.height,
        "order": page.shown.order,
        "count": count_text(page, empty),
    }


def packed_table(page: Page, choice: TableChoice, binary: Binary, empty: str = "no rows") -> dict[str, Any]:
    """Return a page as the front end takes it, its cells in columns."""
    values = table_values(page, empty)
    rows = values.pop("rows")
    values["height"] = len(rows)
    values["cells"] = [binary.text([row[i] for row in rows]) for i in range(len(values["columns"]))]
    return {
        **values,
        "marks": list(page.marks),
        "first": page.first,
        "left": page.shown.height,
        "page_rows": choice.rows,
        "sort": choice.sort,
        "descending": choice.descending,
        "where": choice.where,
        "error": page.error,
        "mode": choice.mode,
        "modes": [[mode, text] for mode, text in MODES.items()],
    }
