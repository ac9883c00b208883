"""Frames that are already in memory, as a bounded source: one split, in the order given."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import polars as pl

from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import DurationLike, Pace, check_timing, timing
from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.core.event_time.time import time_us

if TYPE_CHECKING:
    import pandas as pd

STEP = "from_frame"
_MAX_FRAMES = 100_000

AnyFrame: TypeAlias = "pl.DataFrame | pl.LazyFrame | pd.DataFrame"


def from_frame(
    frame: AnyFrame | Iterable[AnyFrame],
    *,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
    name: str = STEP,
) -> FrameSource:
    """Return a source that reads frames in memory.

    Parameters
    ----------
    frame
        A Polars or pandas DataFrame (its index is left out), a LazyFrame, which is collected here, or several of them.
        Several frames arrive one by one: each is a batch of its own, which changes how many early results there are,
        but no late row. A generator is read to its end here.
    event_time, watermark, idle_timeout, pace, max_advance
        See :func:`~streamlab.connectors.contracts.timing.timing`.
    name
        Shown in plans.

    Raises
    ------
    OptionError
        If it is no frame, the frames have different columns, or a generator has no end in sight.
    PlanError
        If the event time is no time column of it.

    Examples
    --------
    >>> import datetime as dt, polars as pl, streamlab as sl
    >>> rows = pl.DataFrame({"at": [dt.datetime(2024, 1, 1, 12)], "n": [1]})
    >>> sl.from_frame(rows, event_time="at").collect().rows()
    [(datetime.datetime(2024, 1, 1, 12, 0), 1)]
    """
    several = not is_frame(frame)
    frames = tuple(_each(frame) if several else [as_polars(frame)])
    schema = frames[0].schema
    for before, after in pairwise(frames):
        if before.schema != after.schema:
            got = f"{dict(before.schema)} and then {dict(after.schema)}"
            raise OptionError(explained(name, needed="frames with the same columns", got=got))
    said = timing(event_time, watermark, idle_timeout, pace, max_advance)
    check_timing(name, schema, said)
    return FrameSource(name, schema, frames, several, timing=said)


@dataclass(frozen=True)
class FrameSource(Source):
    """Reads frames that travel with the plan.

    Attributes
    ----------
    frames : tuple[pl.DataFrame, ...]
        All with the source's schema.
    cut : bool
        Whether each frame is a batch of its own.
    joined : bool
        Whether that is seen in steps by hand only.
    """

    frames: tuple[pl.DataFrame, ...] = field(repr=False)
    cut: bool = False
    joined: bool = False

    @property
    def bounded(self) -> bool:
        """Always."""
        return True

    def joining(self) -> FrameSource:
        """Give out frames together where nobody sees it."""
        return replace(self, joined=True)

    @property
    def shows_cuts(self) -> bool:
        """Several frames, unless they are joined."""
        return self.cut and not self.joined

    @property
    def joins_batches(self) -> bool:
        """As it was told."""
        return self.joined

    @property
    def keeps_batches(self) -> bool:
        """Whether the user gave several frames."""
        return self.cut

    @property
    def max_parallelism(self) -> int | None:
        """One: the order of arrival is kept."""
        return 1

    @property
    def rows(self) -> int:
        """Rows in all frames."""
        return sum(frame.height for frame in self.frames)

    def splits(self) -> Sequence[Split]:
        """One, with the earliest event time."""
        column = self.timing.event_time
        if column is None:
            return [Split("frame", self.rows)]
        times = pl.concat([frame.get_column(column) for frame in self.frames]).to_frame()
        us = times.select(time_us(column).alias("us").drop_nulls())
        earliest, first = us.select(pl.col("us").min(), pl.col("us").first().alias("first")).row(0)
        return [Split("frame", self.rows, earliest, first)]

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start at ``(frame, row)``."""
        return _FrameReader(self.frames, position)

    def describe(self) -> str:
        """Say how many rows there are."""
        several = f" in {len(self.frames):,} frames" if self.cut else ""
        return f"{self.name}: {self.rows:,} rows{several}"


class _FrameReader(SplitReader):
    def __init__(self, frames: Sequence[pl.DataFrame], position: Position) -> None:
        self._frames = frames
        match position:
            case (int(frame), int(row)):
                self._frame, self._row = frame, row
            case _:
                self._frame, self._row = 0, 0
        self._skip_read()

    @property
    def done(self) -> bool:
        """Whether all frames have been read."""
        return self._frame >= len(self._frames)

    def read(self, limit: int, now_us: int) -> Read | None:
        """Return rows of one frame."""
        if self.done:
            return None
        part = self._next(limit)
        return Read(part, (self._frame, self._row), part.height)

    def _next(self, limit: int) -> pl.DataFrame:
        part = self._frames[self._frame].slice(self._row, limit)
        self._row += part.height
        self._skip_read()
        return part

    def read_on(self, limit: int, now_us: int) -> Read | None:
        """Return rows of as many frames as it takes."""
        parts: list[pl.DataFrame] = []
        rows = 0
        while rows < limit and not self.done:
            parts.append(self._next(limit - rows))
            rows += parts[-1].height
        return Read(pl.concat(parts), (self._frame, self._row), rows) if parts else None

    def _skip_read(self) -> None:
        while not self.done and self._row >= self._frames[self._frame].height:
            self._frame, self._row = self._frame + 1, 0


def _each(frames: object) -> list[pl.DataFrame]:
    if isinstance(frames, str | bytes | dict) or not isinstance(frames, Iterable):
        raise _no_frame(frames)
    import psutil  # noqa: PLC0415 - a worker that reads frames does not need it

    budget = psutil.virtual_memory().available // 2
    out: list[pl.DataFrame] = []
    for frame in frames:
        out.append(as_polars(frame))
        budget -= int(out[-1].estimated_size())
        if not isinstance(frames, Sequence) and (len(out) > _MAX_FRAMES or budget < 0):
            got = f"no end after {len(out):,} frames"
            hint = "a stream without end is a function of the row number: sl.generate(function)"
            raise OptionError(explained(STEP, needed="a generator that ends", got=got, hint=hint))
    if not out:
        hint = "give an empty frame with the right columns instead: pl.DataFrame(schema=...)"
        raise OptionError(explained(STEP, needed="at least one frame", got="none", hint=hint))
    return out


def is_frame(value: object) -> TypeGuard[AnyFrame]:
    """Return whether something is a frame of a kind that can be read."""
    return isinstance(value, pl.DataFrame | pl.LazyFrame) or _is_pandas(value)


def as_polars(frame: object) -> pl.DataFrame:
    """Return a frame of any kind as a Polars DataFrame; pandas' index is left out."""
    if isinstance(frame, pl.DataFrame):
        out = frame
    elif isinstance(frame, pl.LazyFrame):
        out = frame.collect()
    elif _is_pandas(frame):
        out = _from_pandas(frame)
    else:
        raise _no_frame(frame)
    objects = [name for name, dtype in out.schema.items() if isinstance(dtype, pl.Object)]
    if objects:
        hint = "turn it into text, numbers or a struct first"
        raise PlanError(explained(STEP, needed="columns without Python objects", got=repr(objects[0]), hint=hint))
    return out


def _is_pandas(value: object) -> TypeGuard[pd.DataFrame]:
    # Whoever has such a frame has imported pandas; for all others, workers among them, that would take long.
    kind = getattr(sys.modules.get("pandas"), "DataFrame", None)
    return kind is not None and isinstance(value, kind)


def _from_pandas(frame: pd.DataFrame) -> pl.DataFrame:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise PlanError(explained(STEP, needed="column names that differ", got=f"{twice[0]!r} twice"))
    import pyarrow as pa  # noqa: PLC0415 - Polars needs it for frames of pandas, and nothing else here does

    try:
        return pl.from_pandas(frame)
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError) as error:
        mixed = next((name for name in frame.columns if not _converts(frame[name])), None)
        column = f" in column {mixed!r}" if mixed is not None else ""
        hint = "make the column one of text, numbers or times: frame[name].astype(str)"
        got = f"values of several types{column} ({str(error).splitlines()[0]})"
        raise PlanError(explained(STEP, needed="columns with values of one type", got=got, hint=hint)) from error


def _converts(column: pd.Series) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - as above

    try:
        pl.from_pandas(column)
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError):
        return False
    return True


def _no_frame(got: object) -> OptionError:
    needed = "a Polars or pandas DataFrame, a LazyFrame, or several of them"
    return OptionError(explained(STEP, needed=needed, got=type(got).__name__))
