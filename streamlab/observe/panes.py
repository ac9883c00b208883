"""The table of windows: which are open, which have fired or fired again, which take no more rows.

A window of a step is spread over the subtasks: each keeps the windows of its keys, and their tables are added up.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

NEWEST = 500
"""Windows of a step that are shown, those that end last."""

STATES = ("open", "refined", "fired", "closed")
"""A window is *open* until the watermark reaches its end; then it has *fired*, once, or is *refined*, when late rows
that it still took made it fire again; and it is *closed* once it takes no more rows. In this order: of several subtasks
the first one's state counts."""

STORED = pl.Schema(
    {
        "start_us": pl.Int64(),
        "end_us": pl.Int64(),
        "state": pl.Enum(STATES),
        "keys": pl.Int64(),
        "rows": pl.Int64(),
        "firings": pl.Int64(),
        "refinements": pl.Int64(),
    }
)
"""Columns of one subtask's table. ``keys`` and ``rows`` are null where they are not known: rows are when the query
counts them (``pl.len()``), keys unless there are too many to be counted in passing."""

SHOWN = pl.Schema(
    {
        "step": pl.String(),
        "window_start": pl.Datetime("us", "UTC"),
        "window_end": pl.Datetime("us", "UTC"),
        "state": pl.Enum(STATES),
        "keys": pl.Int64(),
        "rows": pl.Int64(),
        "firings": pl.Int64(),
        "refinements": pl.Int64(),
    }
)
"""Columns of the table that users see."""


def together(tables: Sequence[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """Return the windows of all steps, those that end last first, from the tables of their subtasks.

    Examples
    --------
    >>> one = pl.DataFrame([(0, 10, "fired", 2, 5, 1, 0)], schema=STORED, orient="row")
    >>> other = pl.DataFrame([(0, 10, "open", 1, None, 0, 0)], schema=STORED, orient="row")
    >>> together([("hourly", one), ("hourly", other)]).select("state", "keys", "rows", "firings").row(0)
    ('open', 3, None, 1)
    """
    if not tables:
        return SHOWN.to_frame()
    every = pl.concat([table.select(pl.lit(step).alias("step"), *STORED) for step, table in tables])
    known = [pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()).alias(name) for name in ("keys", "rows")]
    added = every.group_by("step", "start_us", "end_us").agg(
        pl.col("state").min(), *known, pl.col("firings", "refinements").max()
    )
    newest = added.sort("end_us", "start_us", "step", descending=[True, True, False])
    newest = newest.filter(pl.int_range(pl.len()).over("step") < NEWEST)
    return newest.rename({"start_us": "window_start", "end_us": "window_end"}).select(
        pl.col(name).cast(dtype) for name, dtype in SHOWN.items()
    )
