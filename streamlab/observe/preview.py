"""The few rows of a result table that are shown while it grows, as text cells.

Only the rows that are shown are ever turned into Python values. Cells are plain text: whoever draws them escapes them.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from streamlab.observe.wording import UNKNOWN

MAX_CELL = 80
"""Characters of a cell; what is longer ends in an ellipsis."""
MAX_COLUMNS = 30
_MOST_DECIMALS = 3
_MOST_BYTES = 1_000_000
"""Nested values of a page that are larger are not turned into text."""
_DIRECTIONS = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SIGNS = {
    **{code: chr(0x2400 + code) for code in range(32)},
    0x7F: "\u2421",
    **{code: f"«U+{code:04X}»" for code in (*range(0x80, 0xA0), 0x2028, 0x2029, *_DIRECTIONS)},
}
"""What stands for characters that terminals obey, and for those that turn the direction of the text around them."""
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
        Polars' names of the dtypes, without their parameters but the time zone.
    numeric : tuple[bool, ...]
        Which columns are set flush right.
    rows : tuple[tuple[str | None, ...], ...]
        Cells; None is a null.
    height : int
        Rows that the whole table has.
    width : int
        Columns that the whole table has.
    order : str
        Which rows these are, in words: ``"newest dep_time first"``.
    """

    columns: tuple[str, ...]
    dtypes: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str | None, ...], ...]
    height: int
    width: int
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
    shown, order = first_rows(table, limit)
    return as_text(shown, table.height, order)


def first_rows(table: pl.DataFrame, limit: int, skip: int = 0) -> tuple[pl.DataFrame, str]:
    """Return the rows that tell most, after those to skip, and in words which these are.

    Examples
    --------
    >>> first_rows(pl.DataFrame({"n": [3, 1, 2]}), 2)[1]
    'by n'
    """
    when = next((name for name, dtype in table.schema.items() if isinstance(dtype, pl.Datetime | pl.Date)), None)
    if when is not None:
        others = [name for name, dtype in table.schema.items() if name != when and is_sortable(dtype)][:1]
        most = skip + limit
        newest = table.top_k(most, by=when) if table.height > most else table
        ordered = newest.sort(when, *others, descending=[True, *[False] * len(others)], nulls_last=True)
        return ordered.slice(skip, limit), f"newest {when} first"
    first = next((name for name, dtype in table.schema.items() if is_sortable(dtype)), None)
    if first is None:
        return table.slice(skip, limit), ""
    return table.sort(first, maintain_order=True).slice(skip, limit), f"by {first}" if table.height > 1 else ""


def as_text(
    shown: pl.DataFrame, height: int, order: str = "", *, counts: bool = False, longest: int = MAX_CELL
) -> Preview:
    """Return a few rows of a table that has `height` of them, as cells of text, `longest` characters at most.

    Integers are written as they are, since they may be years or names; with `counts`, with commas between thousands,
    and what is null is not known.
    """
    width = shown.width
    shown = shown.select(shown.columns[:MAX_COLUMNS])
    cells = [_cells(column, counts=counts, longest=longest) for column in shown]
    return Preview(
        columns=tuple(plain(name) for name in shown.columns),
        dtypes=tuple(map(_dtype_name, shown.dtypes)),
        numeric=tuple(dtype.is_numeric() or dtype == pl.Duration for dtype in shown.dtypes),
        rows=tuple(zip(*cells, strict=True)) if cells else (),
        height=height,
        width=width,
        order=order,
    )


def plain(text: str) -> str:
    r"""Return a text in which nothing can act: control characters and those that turn the direction are shown as signs.

    Examples
    --------
    >>> plain("\x1b[31mred\n"), plain("a\u202eb")
    ('␛[31mred␊', 'a«U+202E»b')
    """
    return text if text.isascii() and text.isprintable() else text.translate(_SIGNS)


def is_sortable(dtype: pl.DataType) -> bool:
    """Return whether rows can be put in the order of such a column."""
    return not dtype.is_nested() and dtype != pl.Object


def shortened(text: str, most: int) -> str:
    """Return a text of about `most` characters: its beginning, its end, and how much was left out between them.

    Examples
    --------
    >>> shortened("a" * 1000 + "b", 20)
    'aaaaaaaaaa … 981 characters … aaaaaaaaab'
    >>> shortened("short", 20)
    'short'
    """
    if len(text) <= most:
        return text
    kept = most // 2
    return f"{text[:kept]} … {len(text) - 2 * kept:,} characters … {text[-kept:]}"


def _dtype_name(dtype: pl.DataType) -> str:
    zone = getattr(dtype, "time_zone", None)
    return f"{dtype.base_type()}, {zone}" if zone else str(dtype.base_type())


def cut_cell(text: str, longest: int = MAX_CELL) -> str:
    """Return a text of that length at most, which ends in an ellipsis when it was longer."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _cells(column: pl.Series, *, counts: bool, longest: int) -> list[str | None]:
    if counts and column.dtype.is_integer():
        return [UNKNOWN if value is None else f"{value:,}" for value in column]
    if column.dtype == pl.String:
        # Asking Polars for the beginnings costs more than all of a few short texts.
        if column.estimated_size() > _MOST_BYTES:
            column = column.str.head(longest + 1)
    elif column.dtype == pl.Binary:
        column = column.bin.slice(0, longest)
    elif column.dtype.is_nested() and column.estimated_size() > _MOST_BYTES:
        return [None if is_null else f"«{column.dtype.base_type()}, too large to show»" for is_null in column.is_null()]
    values = column.to_list()
    decimals = max((_decimals(value) for value in values), default=0) if column.dtype.is_float() else 0
    return [_cell(value, decimals, longest) for value in values]


def _cell(value: Any, decimals: int, longest: int) -> str | None:
    if value is None:
        return None
    if isinstance(value, float):
        text = _float(value, decimals)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(" ", "auto")
    elif isinstance(value, dt.timedelta):
        text = _duration(value)
    else:
        text = plain(str(value))
    return cut_cell(text, longest)


def _duration(value: dt.timedelta) -> str:
    """Return a span of time as days, hours, minutes and seconds."""
    sign, value = ("-", -value) if value < dt.timedelta() else ("", value)
    days = f"{value.days} d " if value.days else ""
    clock = str(value - dt.timedelta(days=value.days))
    return f"{sign}{days}{clock.rstrip('0') if '.' in clock else clock}"


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
