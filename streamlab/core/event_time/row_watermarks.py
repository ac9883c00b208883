"""The watermark of a row: the one that stood before it, carried only by batches with a row that lies behind it.

Lateness is judged row by row, as if rows came one by one, so that how they are cut into batches decides nothing.
Watermark messages go out once a batch. So a row that lies behind the latest rows before it *in its own batch* must
bring along what the watermark was when it came. Few rows do: batches in which none does have no extra column.

The column is Int64, in microseconds since the epoch, and never null: `MIN_TIME_US` stands for "ahead of it". Frames
with it are DataFrames. Whoever makes watermarks of rows makes it; a task with other inputs lowers it to where they
stand; steps that treat rows one by one carry it along; windows judge by it; nothing else sees it.

So a row that is not ahead of the last watermark message before it always brings its own along, and batches that wait
can be put together over the watermarks between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streamlab.core.column_names.own_columns import own
from streamlab.core.event_time.time import MIN_TIME_US, time_us

ROW_WATERMARK = own("watermark")
"""Name of the column."""

_BLOCK_ROWS = 256
"""Rows that are looked at together: few, so that rows in some disorder rarely seem to be behind."""

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def marked(frame: pl.DataFrame, column: str, before_us: int | None, behind_us: int) -> pl.DataFrame:
    """Return rows with the watermark that stood before each of them, if any row lies behind it; else as they are.

    Parameters
    ----------
    frame
        Rows in arrival order.
    column
        The event time, without nulls.
    before_us
        Latest event time of the rows before these; None when there were none.
    behind_us
        How far the watermark is behind the latest row: the delay and one tick.

    Examples
    --------
    >>> rows = pl.DataFrame({"at": [9, 4, 3]}).cast(pl.Datetime("us"))
    >>> marked(rows, "at", None, 5)[ROW_WATERMARK].to_list() == [MIN_TIME_US, 4, 4]
    True
    >>> marked(rows, "at", None, 7).columns
    ['at']
    """
    if not frame.height:
        return frame
    times = frame.select(time_us(column)).to_series().to_numpy()
    if not _may_have_behind(times, before_us, behind_us):
        return frame
    watermarks = watermarks_before(times, before_us, behind_us)
    is_behind = times <= watermarks
    if not is_behind.any():
        return frame
    watermarks[~is_behind] = MIN_TIME_US
    return frame.with_columns(pl.Series(ROW_WATERMARK, watermarks))


def watermarks_before(times: NDArray[np.int64], before_us: int | None, behind_us: int) -> NDArray[np.int64]:
    """Return the watermark that stood before each of some rows, which follow one another; `MIN_TIME_US` for none yet.

    >>> watermarks_before(np.array([9, 4, 12, 3]), 8, 5).tolist()
    [3, 4, 4, 7]
    """
    watermarks = np.empty_like(times)
    np.maximum.accumulate(times[:-1], out=watermarks[1:])
    if before_us is not None:
        np.maximum(watermarks[1:], before_us, out=watermarks[1:])
    watermarks[1:] -= behind_us
    watermarks[0] = MIN_TIME_US if before_us is None else before_us - behind_us
    return watermarks


def _may_have_behind(times: NDArray[np.int64], before_us: int | None, behind_us: int) -> bool:
    """Return whether a row may lie behind its watermark; False is certain, and said at the cost of reading the times.

    No row does if the earliest of each block is ahead of the latest so far, that block included; nor where times rise.
    """
    starts = np.arange(0, len(times), _BLOCK_ROWS)
    latest = np.maximum.accumulate(np.maximum.reduceat(times, starts))
    if before_us is not None:
        np.maximum(latest, before_us, out=latest)
    if (np.minimum.reduceat(times, starts) > latest - behind_us).all():
        return False
    is_behind_earlier = before_us is not None and bool(times[0] <= before_us - behind_us)
    return is_behind_earlier or bool((times[1:] < times[:-1]).any())


def is_marked(frame: pl.DataFrame | pl.LazyFrame) -> bool:
    """Return whether rows bring their watermarks along; those of a LazyFrame never do."""
    return isinstance(frame, pl.DataFrame) and ROW_WATERMARK in frame.columns


def unmarked(frame: Frame) -> Frame:
    """Return rows without their watermarks."""
    return frame.drop(ROW_WATERMARK) if is_marked(frame) else frame


def lowered(frame: pl.DataFrame, others_us: int, current_us: int) -> pl.DataFrame:
    """Return rows whose watermarks are those of all inputs together.

    Parameters
    ----------
    frame
        Rows of one input.
    others_us
        The lowest watermark of the other inputs that count; `MAX_TIME_US` when there are none.
    current_us
        What was last given out, which no mark is below.
    """
    if not is_marked(frame):
        return frame
    marks = frame.get_column(ROW_WATERMARK).to_numpy()
    others_us = max(others_us, MIN_TIME_US)  # of a split whose statistics tell a time before all others
    merged = np.where(marks > MIN_TIME_US, np.maximum(np.minimum(marks, others_us), current_us), marks)
    return frame.with_columns(pl.Series(ROW_WATERMARK, merged))


def raised(frame: pl.DataFrame, column: str | None, current_us: int) -> pl.DataFrame:
    """Return rows of an input that is behind what was last given out: those that are behind it, too, bring it along.

    Without the name of the event time all of them do.
    """
    own = pl.col(ROW_WATERMARK) if is_marked(frame) else pl.lit(MIN_TIME_US, pl.Int64)
    mark = own.clip(lower_bound=current_us)
    if column is not None:
        is_behind = frame.select(time_us(column) <= current_us).to_series()
        if not is_behind.any():
            return frame
        mark = pl.when(is_behind).then(mark).otherwise(own)
    return frame.with_columns(mark.alias(ROW_WATERMARK))


def together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return frames behind each other, of which some may bring watermarks along.

    >>> rows = pl.DataFrame({"n": [1]})
    >>> behind = rows.select(pl.lit(7, pl.Int64).alias(ROW_WATERMARK), "n")
    >>> together([rows, behind])[ROW_WATERMARK].to_list()[1]
    7
    """
    if len(frames) == 1:
        return frames[0]
    if len({is_marked(frame) for frame in frames}) > 1:
        ahead = pl.lit(MIN_TIME_US, pl.Int64).alias(ROW_WATERMARK)
        columns = next(frame.columns for frame in frames if is_marked(frame))
        frames = [(frame if is_marked(frame) else frame.with_columns(ahead)).select(columns) for frame in frames]
    return pl.concat(frames)
