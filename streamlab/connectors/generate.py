"""Rows made by a user's function of the row number: an endless stream, or one of `limit` rows.

The function depends on the row number alone, so the stream can be read again from any row; the clock only governs how
fast rows are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import polars as pl

from streamlab.connectors.formats.base import differences
from streamlab.connectors.frames import AnyFrame, as_polars, is_frame
from streamlab.connectors.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.timing import DurationLike, Pace, check_timing, timing
from streamlab.core.errors import OptionError, PlanError, SourceError, explained

STEP = "generate"
_SAMPLE_ROWS = 10

Generator = Callable[[int, int], AnyFrame]
"""``function(start, n)``: rows number ``start`` to ``start + n - 1``; fewer than `n` end the stream."""


def generate(
    function: Generator,
    *,
    rows_per_second: float | None = None,
    limit: int | None = None,
    replayable: bool = True,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
    name: str = STEP,
) -> GenerateSource:
    """Return a source whose rows a function makes.

    Parameters
    ----------
    function
        Called as ``function(start, n)`` in the workers, and once here for the schema; returns a frame with the rows
        from number `start` on, `n` of them. Fewer than `n` rows end the stream. The same arguments must give the
        same rows: after a failure a job asks again for those behind its last checkpoint.
    rows_per_second
        How fast; None means as fast as it goes.
    limit
        How many rows in all; None means without end.
    replayable
        False for rows made of the clock or of chance, which would be others when asked for again: a job that takes
        checkpoints records them first, as it does with a socket, and reads the recording after a failure.
    event_time, watermark, idle_timeout, pace, max_advance
        See :func:`~streamlab.connectors.timing.timing`.
    name
        Shown in plans.

    Raises
    ------
    OptionError
        If an argument makes no sense.
    PlanError
        If the function fails on its first rows, or gives no frame.

    Examples
    --------
    >>> import polars as pl
    >>> source = generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), limit=3)
    >>> dict(source.schema)
    {'n': Int64}
    """
    if rows_per_second is not None and not 0 < rows_per_second < float("inf"):
        raise OptionError(explained(name, needed="rows_per_second above zero", got=repr(rows_per_second)))
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise OptionError(explained(name, needed="limit as a whole number, zero or more", got=repr(limit)))
    if not callable(function):
        raise OptionError(explained(name, needed="a function(start, n)", got=type(function).__name__))
    rows = min(_SAMPLE_ROWS, limit or _SAMPLE_ROWS)
    try:
        sample = _frame(name, function(0, rows))
    except SourceError as error:
        raise PlanError(str(error)) from error
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise PlanError(explained(name, needed=f"function(0, {rows}) to return a frame", got=got)) from error
    said = timing(event_time, watermark, idle_timeout, pace, max_advance)
    check_timing(name, sample.schema, said)
    return GenerateSource(name, sample.schema, function, rows_per_second, limit, replayable, timing=said)


@dataclass(frozen=True)
class GenerateSource(Source):
    """Calls a function for its rows.

    Attributes
    ----------
    function : Callable[[int, int], pl.DataFrame]
        Makes the rows.
    rows_per_second : float | None
        How fast.
    limit : int | None
        How many rows in all.
    is_replayable : bool
        Whether the function gives the same rows again.
    """

    function: Generator
    rows_per_second: float | None = None
    limit: int | None = None
    is_replayable: bool = True

    def at_pace(self, factor: float | None) -> Self:
        """Return it with another pace, which is that of its rows per second, too."""
        rate = self.rows_per_second
        pace = None if factor is None or self.timing.event_time is None else factor
        return replace(
            self,
            rows_per_second=None if factor is None or rate is None else rate * factor,
            timing=replace(self.timing, pace=pace),
        )

    @property
    def pace_name(self) -> str:
        """As in every source, and its rows per second as long as there is no other pace."""
        if self.rows_per_second is None or self.timing.pace is not None or not self.replayable:
            return super().pace_name
        return f"{self.rows_per_second:,g} rows/s"

    @property
    def replayable(self) -> bool:
        """As its maker says."""
        return self.is_replayable

    @property
    def bounded(self) -> bool:
        """Whether there is a limit."""
        return self.limit is not None

    @property
    def max_parallelism(self) -> int | None:
        """One: rows come in the order of their numbers."""
        return 1

    def splits(self) -> Sequence[Split]:
        """One."""
        return [Split("rows", self.limit)]

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start at a row number."""
        return _Generated(self, int(str(position)))

    def describe(self) -> str:
        """Say how fast and how many."""
        speed = f"{self.rows_per_second:,g} rows/s" if self.rows_per_second else "as fast as it goes"
        return f"{self.name}: {speed}{'' if self.limit is None else f', {self.limit:,} rows'}"


class _Generated(SplitReader):
    def __init__(self, source: GenerateSource, position: int) -> None:
        self._source = source
        self._at = self._first = position
        self._started_us: int | None = None
        self._over = False

    @property
    def done(self) -> bool:
        return self._over or (self._source.limit is not None and self._at >= self._source.limit)

    def read(self, limit: int, now_us: int) -> Read | None:
        if self._started_us is None or now_us < self._started_us:
            self._started_us, self._first = now_us, self._at
        rows = min(limit, self._due(now_us))
        if self._source.limit is not None:
            rows = min(rows, self._source.limit - self._at)
        if self.done or rows <= 0:
            return None
        frame = _frame(self._source.name, self._source.function(self._at, rows))
        self._check(frame, rows)
        self._over = frame.height < rows
        self._at += frame.height
        return Read(frame.cast(self._source.schema), self._at, frame.height)

    def change_pace(self, source: Source) -> None:
        if isinstance(source, GenerateSource):
            self._source, self._started_us = source, None

    def wakeup_us(self, now_us: int) -> int | None:
        rate = self._source.rows_per_second
        if rate is None or self._started_us is None:
            return now_us
        return self._started_us + math.ceil((self._at - self._first) * 1e6 / rate)

    def _due(self, now_us: int) -> int:
        """Return how many rows should have come by now: one at once, then one every so often."""
        rate = self._source.rows_per_second
        if rate is None or self._started_us is None:
            return 2**31
        return int((now_us - self._started_us) * rate / 1e6) + 1 - (self._at - self._first)

    def _check(self, frame: pl.DataFrame, rows: int) -> None:
        step = self._source.name
        call = f"function({self._at}, {rows})"
        if frame.height > rows:
            raise SourceError(explained(step, needed=f"{call} to give {rows} rows", got=f"{frame.height}"))
        expected = self._source.schema
        loose = {n for n, dtype in frame.schema.items() if isinstance(dtype, pl.Null)}
        there = pl.Schema({n: expected.get(n, d) if n in loose else d for n, d in frame.schema.items()})
        if there.names() != expected.names() or there != expected:
            found = differences(expected, there) or ["its columns are in another order"]
            needed = f"{call} to give the columns of the first rows"
            raise SourceError(explained(step, needed=needed, got="; ".join(found)))


def _frame(step: str, got: object) -> pl.DataFrame:
    if not is_frame(got):
        needed = "function(start, n) to return a DataFrame"
        raise SourceError(explained(step, needed=needed, got=type(got).__name__))
    return as_polars(got)
