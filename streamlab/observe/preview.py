"""The few rows of a result table that are shown while it grows, as text cells.

Only the rows that are shown are ever turned into Python values. Cells are plain text: whoever draws them escapes them.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import polars as pl

MAX_CELL = 80
"""Characters of a cell; what is longer ends in an ellipsis."""
MAX_COLUMNS = 30
_MOST_DECIMALS = 3
_PLAIN_FROM, _PLAIN_TO = 1e-3, 1e9
"""Floats outside are written with an exponent."""


@dataclass(frozen=True)
class Preview:
    """A small table of text.

    Attributes
    ----------
    columns : tuple[str, ...]
        Names.
    dtypes : tuple[str, ...]
        Polars' names of the dtypes, without their parameters.
    numeric : tuple[bool, ...]
        Which columns are set flush right.
    rows : tuple[tuple[str | None, ...], ...]
        Cells; None is a null.
    height : int
        Rows that the whole table has.
    order : str
        Which rows these are, in words: ``"newest dep_time first"``.
    """

    columns: tuple[str, ...]
    dtypes: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str | None, ...], ...]
    height: int
    order: str = ""


def preview(table: pl.DataFrame, limit: int) -> Preview:
    """Return the `limit` rows of a result table that tell most: the newest by its first time column.

    A table without a time column is shown in order of its first column, so that its rows stand still while their values
    change.

    Examples
    --------
    >>> table = pl.DataFrame({"k": ["a", "b"], "t": [dt.datetime(2013, 1, 1, 5), dt.datetime(2013, 1, 1, 6)], "x": 0.5})
    >>> preview(table, 1).rows
    (('b', '2013-01-01 06:00:00', '0.5'),)
    """
    table_height = table.height
    table = table.select(table.columns[:MAX_COLUMNS])
    when = next((name for name, dtype in table.schema.items() if isinstance(dtype, pl.Datetime | pl.Date)), None)
    if when is not None:
        others = [name for name, dtype in table.schema.items() if name != when and _sortable(dtype)][:1]
        newest = table.top_k(limit, by=when) if table_height > limit else table
        shown = newest.sort(when, *others, descending=[True, *[False] * len(others)], nulls_last=True)
        order = f"newest {when} first"
    else:
        first = next((name for name, dtype in table.schema.items() if _sortable(dtype)), None)
        shown = table.sort(first, maintain_order=True).head(limit) if first is not None else table.head(limit)
        order = f"by {first}" if first is not None and table_height > 1 else ""
    return Preview(
        columns=tuple(shown.columns),
        dtypes=tuple(str(dtype.base_type()) for dtype in shown.dtypes),
        numeric=tuple(dtype.is_numeric() for dtype in shown.dtypes),
        rows=tuple(zip(*(_cells(column) for column in shown), strict=True)) if shown.width else (),
        height=table_height,
        order=order,
    )


def _sortable(dtype: pl.DataType) -> bool:
    return not dtype.is_nested() and dtype != pl.Object


def _cells(column: pl.Series) -> list[str | None]:
    values = column.to_list()
    decimals = max((_decimals(value) for value in values), default=0) if column.dtype.is_float() else 0
    return [_cell(value, decimals) for value in values]


def _cell(value: Any, decimals: int) -> str | None:
    if value is None:
        return None
    if isinstance(value, float):
        text = _float(value, decimals)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(" ", "auto")
    else:
        text = str(value)
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def _is_plain(value: float) -> bool:
    return value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_TO


def _decimals(value: float | None) -> int:
    """Return how many decimals a number needs, so that a column's numbers can be set under each other."""
    if value is None or not _is_plain(value):
        return 0
    return len(f"{value:.{_MOST_DECIMALS}f}".rstrip("0").partition(".")[2])


def _float(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "NaN"
    if _is_plain(value):
        return f"{value + 0.0:.{decimals}f}"
    return f"{value:.4g}"
