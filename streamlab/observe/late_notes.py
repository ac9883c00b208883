"""The table of late rows with what happened to each: which columns it is stored with, and how it is shown.

It is a sample, the newest rows, of those that were set aside (all of which are in the side table of late rows) and of
those that a window still took, within the allowed lateness.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import groupby

import polars as pl

from streamlab.core.column_names.own_columns import own

LATE_NOTES = "late_notes"
"""Tag of the log in the job's folder."""
KEPT = 1000
"""Newest rows that are kept of each worker, about."""


class Outcome(StrEnum):
    """What became of a late row."""

    SET_ASIDE = "set aside"
    MERGED = "merged"


STORED = {
    "outcome": pl.String(),
    "time_us": pl.Int64(),
    "watermark_us": pl.Int64(),
    "start_us": pl.Int64(),
    "end_us": pl.Int64(),
    "noted_us": pl.Int64(),
}
"""Columns that are stored in front of the row's own, under names that no user's column has.

They are read by their places: earlier releases gave them other names.
"""

SHOWN = pl.Schema(
    {
        "outcome": pl.String(),
        "step": pl.String(),
        "noted_at": pl.Datetime("us", "UTC"),
        "event_time": pl.Datetime("us", "UTC"),
        "watermark": pl.Datetime("us", "UTC"),
        "behind_ms": pl.Float64(),
        "window_start": pl.Datetime("us", "UTC"),
        "window_end": pl.Datetime("us", "UTC"),
        "closed_for_ms": pl.Float64(),
    }
)
"""Columns that are shown in front of the row's own."""


def stored(details: pl.DataFrame, rows: pl.DataFrame, noted_us: int) -> pl.DataFrame:
    """Return rows with what was noted of each, as they are stored; `details` lacks when that was."""
    whole = details.with_columns(pl.lit(noted_us, pl.Int64).alias("noted_us"))
    return whole.select(pl.col(name).cast(dtype).alias(own(f"late_{name}")) for name, dtype in STORED.items()).hstack(
        rows
    )


def shown(notes: Sequence[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """Return the table that users see, newest rows first, from the stored frames of each step.

    A column of the row that has the name of one of ours is shown as ``row.<name>``.
    """
    # Each frame costs, however short it is.
    alike = groupby(notes, key=lambda note: (note[0], note[1].schema))
    frames = [_shown(step, pl.concat([frame for _, frame in group])) for (step, _), group in alike]
    every = pl.concat([SHOWN.to_frame(), *frames], how="diagonal_relaxed")
    return every.reverse().sort("noted_at", descending=True, maintain_order=True)


def _shown(step: str, frame: pl.DataFrame) -> pl.DataFrame:
    noted, given = frame.columns[: len(STORED)], frame.columns[len(STORED) :]
    at = {name: pl.col(column) for name, column in zip(STORED, noted, strict=True)}
    values = {
        "outcome": at["outcome"],
        "step": pl.lit(step),
        "noted_at": at["noted_us"],
        "event_time": at["time_us"],
        "watermark": at["watermark_us"],
        "behind_ms": (at["watermark_us"] - at["time_us"]) / 1000,
        "window_start": at["start_us"],
        "window_end": at["end_us"],
        "closed_for_ms": (at["watermark_us"] - at["end_us"]) / 1000,
    }
    ours = [values[name].cast(dtype).alias(name) for name, dtype in SHOWN.items()]
    return frame.select(*ours, *(pl.col(name).alias(f"row.{name}" if name in SHOWN else name) for name in given))
