"""The lines of a chart of a result table."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streamlab.core.errors import OptionError, explained
from streamlab.notebook.charts.svg import Line
from streamlab.observe.preview import plain

_TEXTS = (pl.String, pl.Categorical, pl.Enum)

MOST_POINTS = 5_000
"""Points of all lines together; of each line the last ones are shown."""
MOST_LINES = 12


@dataclass(frozen=True)
class Drawn:
    """What a chart shows of a result table.

    Attributes
    ----------
    x, y : str
        Columns.
    by : str | None
        Column with a line for each of its values.
    x_is_time, y_is_time : bool
        What stands at the axes.
    """

    x: str
    y: str
    by: str | None
    x_is_time: bool
    y_is_time: bool

    def lines(self, table: pl.DataFrame) -> tuple[list[Line], str]:
        """Return the lines to draw, and in words what was left out."""
        return lines_of(table, self.x, self.y, self.by)


def chosen(schema: pl.Schema, x: str | None, y: str | None, by: str | None) -> tuple[str, str, str | None]:
    """Return which columns are drawn, where that was not said: times, the first figures of them, a line for each text.

    Raises
    ------
    OptionError
        If there are no two columns that can be drawn.

    Examples
    --------
    >>> import polars as pl
    >>> schema = pl.Schema({"city": pl.String, "at": pl.Datetime("us"), "zone": pl.Int8, "n": pl.Int64})
    >>> chosen(schema, None, None, None), chosen(schema, "zone", "n", None)
    (('at', 'zone', 'city'), ('zone', 'n', None))
    """
    if by is None and x is None:
        by = next((name for name, dtype in schema.items() if dtype in _TEXTS and name not in {x, y}), None)
    numbers = [name for name, dtype in schema.items() if dtype.is_numeric() and name not in {x, y, by}]
    if x is None:
        times = [name for name, dtype in schema.items() if dtype.is_temporal() and name not in {y, by}]
        x = next(iter([*times, *numbers]), None)
    if y is None:
        y = next((name for name in numbers if name != x), None)
    if x is None or y is None:
        needed = "a column of times or numbers for x, and one of numbers for y"
        got = ", ".join(f"{name} {dtype}" for name, dtype in schema.items())
        hint = "aggregate in windows of time, group_by_dynamic(…); job.results() is the table"
        raise OptionError(explained("plot", needed=needed, got=got, hint=hint))
    return x, y, by


def are_times(schema: pl.Schema, x: str, y: str, by: str | None) -> tuple[bool, bool]:
    """Return for both axes whether times stand at them.

    Raises
    ------
    OptionError
        If a column is not there, or cannot be drawn.
    """
    known = ", ".join(schema.names())
    for option, name in (("x", x), ("y", y), ("by", by)):
        if name is None:
            continue
        if name not in schema:
            raise OptionError(
                explained(
                    "plot",
                    needed=f"a column of the result table for {option}",
                    got=repr(name),
                    hint=f"columns: {known}",
                )
            )
        dtype = schema[name]
        if option != "by" and not (dtype.is_numeric() or dtype.is_temporal()):
            raise OptionError(
                explained("plot", needed=f"numbers or times for {option}", got=f"{name!r} of type {dtype}")
            )
    return schema[x].is_temporal(), schema[y].is_temporal()


def lines_of(table: pl.DataFrame, x: str, y: str, by: str | None) -> tuple[list[Line], str]:
    """Return the lines to draw, each in the order of `x`, and in words what was left out.

    Examples
    --------
    >>> table = pl.DataFrame({"t": [2, 1, 1], "n": [20, 10, 5], "k": ["a", "a", "b"]})
    >>> [(line.label, line.x, line.y) for line in lines_of(table, "t", "n", "k")[0]]
    [('a', [1.0, 2.0], [10.0, 20.0]), ('b', [1.0], [5.0])]
    """
    points = table.select(
        _number(table, x).alias("x"), _number(table, y).alias("y"), *([pl.col(by).alias("by")] if by else [])
    )
    points = points.drop_nulls(["x", "y"])
    if by is None:
        groups = [(y, points)]
    else:
        largest = (
            points.group_by("by").len().sort("len", "by", descending=[True, False], nulls_last=True).head(MOST_LINES)
        )
        chosen = largest["by"].sort(nulls_last=True).to_list()
        groups = [
            ("null" if value is None else plain(str(value)), points.filter(pl.col("by").eq_missing(value)))
            for value in chosen
        ]
    most = max(2, MOST_POINTS // max(1, len(groups)))
    lines = []
    for label, group in groups:
        newest = (
            group.top_k(most, by="x").sort("x", maintain_order=True)
            if group.height > most
            else group.sort("x", maintain_order=True)
        )
        lines.append(Line(label, newest["x"].to_list(), newest["y"].to_list()))
    return lines, _left_out(points, groups, most, by)


def _number(table: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as floats; times as milliseconds since 1970, as Bokeh wants them."""
    dtype = table.schema[name]
    if dtype == pl.Duration:
        return pl.col(name).dt.total_milliseconds(fractional=True)
    if dtype == pl.Time:
        return pl.col(name).cast(pl.Int64) / 1e6
    if dtype.is_temporal():
        return pl.col(name).cast(pl.Datetime("us")).dt.epoch("us") / 1000
    return pl.col(name).cast(pl.Float64)


def _left_out(points: pl.DataFrame, groups: list[tuple[str, pl.DataFrame]], most: int, by: str | None) -> str:
    notes = []
    if by is not None and points["by"].n_unique() > len(groups):
        notes.append(f"the {len(groups)} of {points['by'].n_unique():,} with most rows")
    if any(group.height > most for _, group in groups):
        notes.append(f"the last {most:,} points of each line")
    return "shown: " + ", ".join(notes) if notes else ""
