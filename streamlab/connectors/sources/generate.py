"""Rows made by a user's function of the row number: an endless stream, or one of `limit` rows.

The function depends on the row number alone, so the stream can be read again from any row; the clock only governs how
fast rows are asked for.

Several subtasks share a stream as `Stripes`: of the blocks of so many rows that it is cut into, each reads every n-th.
So all of them go on in the order of the rows, and none is far ahead. In which stripes a stream was cut is in the ids of
its splits, and stays so when a job goes on from a checkpoint with another number of subtasks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Self

import polars as pl

from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import DurationLike, Pace, check_timing, timing
from streamlab.connectors.formats.base import differences
from streamlab.connectors.sources.frames import AnyFrame, as_polars, is_frame
from streamlab.core.errors import OptionError, PlanError, SourceError, explained, not_a_frame
from streamlab.core.late_binding import offered

STEP = "generate"
_SAMPLE_ROWS = 10
_BLOCK_ROWS = 32_768
"""Rows of a block: enough that the function is called seldom, few enough that all subtasks are at about one time."""
_BLOCK_S = 0.01
"""How long it takes at most until the rows of a block are due."""
_SHARED_RATE = 100_000
"""Rows per second below which one subtask is enough: more would only make smaller batches."""

_ALL_ROWS = "rows"
_STRIPE = re.compile(rf"{_ALL_ROWS} (?P<split>\d+) of (?P<count>\d+) by (?P<block_rows>\d+)")

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
        How fast, all subtasks together; None means as fast as it goes.
    limit
        How many rows in all; None means without end.
    replayable
        False for rows made of the clock or of chance, which would be others when asked for again: a job that takes
        checkpoints records them first, as it does with a socket, and reads the recording after a failure.
    event_time, watermark, idle_timeout, pace, max_advance
        See :func:`~streamlab.connectors.contracts.timing.timing`.
    name
        Shown in plans.

    Notes
    -----
    All subtasks of a job read the stream, each its share of blocks of 32,768 rows (with a rate: of 10 ms), and each
    follows the event times of its own rows. So rows that are in order by their numbers are never late. Where they are
    not, which ones are late depends on how the subtasks get on, as with several files. One subtask alone reads, in the
    order of the numbers, with ``parallelism=1``, a pace or less than 100,000 rows per second, and what is recorded.

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
        with offered("calls that may fork")():
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
class Stripes:
    """Row numbers, cut into blocks of `block_rows`: of `count` splits, split k has the blocks k, k + count, ….

    >>> Stripes(2, 10).first_of(1), Stripes(2, 10).rows_of(1, limit=35)
    (10, 15)
    >>> Stripes(2, 10).next_row(1, 20), Stripes(2, 10).next_row(1, 17)
    (30, 17)
    """

    count: int = 1
    block_rows: int = _BLOCK_ROWS

    def ids(self) -> list[str]:
        """Return the ids of the splits: ``"rows"`` for a single one."""
        if self.count == 1:
            return [_ALL_ROWS]
        return [f"{_ALL_ROWS} {split} of {self.count} by {self.block_rows}" for split in range(self.count)]

    @classmethod
    def of(cls, split_id: str) -> tuple[Stripes, int]:
        """Return the stripes that a split belongs to, and which one it is."""
        return _stripes_of(split_id)

    def next_row(self, split: int, number: int) -> int:
        """Return the first row of a split from a row number on."""
        block = number // self.block_rows
        ahead = (split - block) % self.count
        return (block + ahead) * self.block_rows if ahead else number

    def end_of_block(self, number: int) -> int | None:
        """Return the number behind the block of a row; None when one split has all blocks."""
        return None if self.count == 1 else (number // self.block_rows + 1) * self.block_rows

    def first_of(self, split: int) -> int:
        """Return the first row of a split."""
        return split * self.block_rows

    def rows_of(self, split: int, limit: int) -> int:
        """Return how many of the first `limit` rows a split has."""
        rounds, rest = divmod(limit, self.count * self.block_rows)
        return rounds * self.block_rows + min(max(rest - self.first_of(split), 0), self.block_rows)


@cache
def _stripes_of(split_id: str) -> tuple[Stripes, int]:
    found = _STRIPE.fullmatch(split_id)
    if found is None:
        return Stripes(), 0
    return Stripes(int(found["count"]), int(found["block_rows"])), int(found["split"])


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
    stripes : Stripes
        How it is cut into splits.
    """

    function: Generator
    rows_per_second: float | None = None
    limit: int | None = None
    is_replayable: bool = True
    stripes: Stripes = Stripes()

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
        """One where rows come in the order of their numbers, whatever the parallelism; else any number."""
        rate = self.rows_per_second
        is_slow = rate is not None and rate < _SHARED_RATE
        return 1 if is_slow or self.timing.pace is not None or not self.is_replayable else None

    def shared(self, subtasks: int) -> Self:
        """Return it with a split for each subtask."""
        rate = self.rows_per_second
        block_rows = _BLOCK_ROWS if rate is None else min(_BLOCK_ROWS, math.ceil(rate * _BLOCK_S))
        return replace(self, stripes=Stripes(subtasks, block_rows))

    def splits(self) -> Sequence[Split]:
        """List the stripes."""
        return self._splits_of(self.stripes)

    def resumed(self, splits: Sequence[Split], begun: Collection[str]) -> Sequence[Split]:
        """List the stripes that some of these splits are of."""
        return self._splits_of(Stripes.of(next(iter(begun)))[0]) if begun else splits

    def _splits_of(self, stripes: Stripes) -> list[Split]:
        limit = self.limit
        rows = [None if limit is None else stripes.rows_of(split, limit) for split in range(stripes.count)]
        return [Split(name, count) for name, count in zip(stripes.ids(), rows, strict=True)]

    def turn_of(self, split: Split, position: Position, skip: int = 0) -> int:
        """Return the number of the row."""
        stripes, at = Stripes.of(split.id)
        return stripes.next_row(at, int(str(position))) + skip

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start at a row number."""
        return _Generated(self, *Stripes.of(split.id), int(str(position)))

    def describe(self) -> str:
        """Say how fast and how many."""
        speed = f"{self.rows_per_second:,g} rows/s" if self.rows_per_second else "as fast as it goes"
        return f"{self.name}: {speed}{'' if self.limit is None else f', {self.limit:,} rows'}"


class _Generated(SplitReader):
    def __init__(self, source: GenerateSource, stripes: Stripes, split: int, position: int) -> None:
        self._source = source
        self._stripes = stripes
        self._split = split
        self._at = stripes.next_row(split, position)
        self._first = position
        """The row that is due when reading starts: at the beginning the first of all, so that no split runs ahead."""
        self._started_us: int | None = None
        self._over = False
        self._columns = list(source.schema.items())

    @property
    def done(self) -> bool:
        return self._over or (self._source.limit is not None and self._at >= self._source.limit)

    def read(self, limit: int, now_us: int) -> Read | None:
        if self._started_us is None:
            self._started_us = now_us
        elif now_us < self._started_us:
            self._started_us, self._first = now_us, self._at
        frames: list[pl.DataFrame] = []
        rows = 0
        while rows < limit and (block := self._next_block(limit - rows, now_us)) is not None:
            frames.append(block)
            rows += block.height
        return Read(pl.concat(frames), self._at, rows) if frames else None

    def _next_block(self, limit: int, now_us: int) -> pl.DataFrame | None:
        """Call the function for the rows up to the end of a block, or as many as are wanted and due."""
        ends = [self._at + limit, self._due_before(now_us), self._stripes.end_of_block(self._at), self._source.limit]
        rows = min(end for end in ends if end is not None) - self._at
        if self.done or rows <= 0:
            return None
        frame = self._source.function(self._at, rows)
        if not isinstance(frame, pl.DataFrame) or list(frame.schema.items()) != self._columns:
            frame = _frame(self._source.name, frame)
            self._check(frame, rows)
            frame = frame.cast(self._source.schema)
        elif frame.height > rows:
            self._check(frame, rows)
        self._over = frame.height < rows
        self._at = self._stripes.next_row(self._split, self._at + frame.height)
        return frame

    def change_pace(self, source: Source) -> None:
        if isinstance(source, GenerateSource):
            self._source, self._started_us, self._first = source, None, self._at

    def wakeup_us(self, now_us: int) -> int | None:
        rate = self._source.rows_per_second
        if rate is None or self._started_us is None:
            return now_us
        return self._started_us + math.ceil((self._at - self._first) * 1e6 / rate)

    def _due_before(self, now_us: int) -> int | None:
        """Return the number of the first row that should not have come by now: one comes at once."""
        rate = self._source.rows_per_second
        if rate is None or self._started_us is None:
            return None
        return self._first + int((now_us - self._started_us) * rate / 1e6) + 1

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
        needed, (what, hint) = "function(start, n) to return a DataFrame", not_a_frame(got)
        raise SourceError(explained(step, needed=needed, got=what, hint=hint))
    return as_polars(got)
