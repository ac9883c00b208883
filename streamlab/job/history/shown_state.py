"""State as users read it: the columns under the names that they know, times as times."""

from __future__ import annotations

import polars as pl

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.state.checkpoints.manifest import StoredStep


def shown_state(frame: pl.DataFrame, step: StoredStep | None) -> pl.DataFrame:
    """Return a frame of a step's state for reading; of a step that is not described, as it is.

    Two columns that would have one name are told apart by an underscore behind the later one.
    """
    if step is None:
        return frame
    columns: list[pl.Expr] = []
    taken: set[str] = set()
    for name in frame.columns:
        shown = step.columns.get(name)
        if shown is not None and not shown.name:
            continue
        title = name if shown is None else shown.name
        while title in taken:
            title += "_"
        taken.add(title)
        value = pl.col(name)
        if shown is not None and shown.is_time:
            value = _as_time(value, shown.zone or None)
        columns.append(value.alias(title))
    return frame.select(columns)


def _as_time(us: pl.Expr, zone: str | None) -> pl.Expr:
    """Return microseconds as a time; those that stand for "never" are null."""
    known = pl.when(us.is_between(MIN_TIME_US, MAX_TIME_US, closed="none")).then(us)
    time = known.cast(pl.Datetime("us", None if zone is None else "UTC"))
    return time if zone is None else time.dt.convert_time_zone(zone)
