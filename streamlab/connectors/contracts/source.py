"""The contract of a source.

A :class:`Source` is the frozen, picklable description that a plan holds. It lists *splits*, parts that can be read
apart from each other; :meth:`Source.open` starts reading one from a *position*. Splits and positions are plain values
(numbers, strings, tuples of them), so that a checkpoint can hold them and a reader can start again from them.

Order of calls: ``splits()`` once, ``open()`` once per split and attempt, ``read()`` until ``done``, then ``close()``,
which is also called after an error. Nothing is read after ``close()``. A source that ``discovers`` is then asked for a
``finder()``, which is asked again and again for the splits that have appeared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import polars as pl

from streamlab.core.event_time.time import Duration

Position = int | str | tuple[int | str, ...]
"""Where to go on reading a split: a plain value that msgpack can hold."""

START: Position = 0
"""The position before the first row, for every source."""


@dataclass(frozen=True)
class Split:
    """A part of a source that is read on its own, in order.

    Attributes
    ----------
    id : str
        Unique in the source and stable between runs.
    rows : int | None
        How many rows it holds, when that is known without reading them.
    min_time_us : int | None
        Earliest event time in it, or a lower bound, when known: a split that is still to be read holds the watermark
        back to there.
    first_time_us : int | None
        Event time of its first row, when known: a paced replay starts at the earliest of them.
    bytes : int | None
        Its share of the file that it is in, as that lies on disk; None of what is in no file, or does not end.
    """

    id: str
    rows: int | None = None
    min_time_us: int | None = None
    first_time_us: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Timing:
    """What a source says about time; every source takes these as keyword arguments.

    Attributes
    ----------
    event_time : str | None
        Column with the time at which a row happened.
    watermark : Duration | None
        How far rows may come out of order; None means that no watermark is made before the input ends.
    idle_timeout : Duration | None
        After how long without rows a split no longer holds the watermark back; None means never.
    pace : float | None
        Replay speed as a multiple of event time; None means as fast as it goes.
    max_advance : Duration | None
        How far a row may be ahead of all rows before it; others are dead letters. None means any distance.
    judges_rows : bool
        Whether some step judges rows by the watermarks that stood before them, so that those behind bring them along.
    """

    event_time: str | None = None
    watermark: Duration | None = None
    idle_timeout: Duration | None = None
    pace: float | None = None
    max_advance: Duration | None = None
    judges_rows: bool = True


def pace_name(factor: float | None) -> str:
    """Return a pace as a user writes it.

    >>> pace_name(None), pace_name(1.0), pace_name(60.0), pace_name(0.5)
    ('max', 'realtime', '60x', '0.5x')
    """
    return "max" if factor is None else "realtime" if factor == 1 else f"{factor:.12g}x"


@dataclass(frozen=True)
class Read:
    """What one call of :meth:`SplitReader.read` found.

    Attributes
    ----------
    frame : pl.DataFrame | pl.LazyFrame
        The rows, with the source's schema; lazy when reading can be optimised together with the steps that follow.
    position : Position
        Where reading goes on after these rows.
    rows : int
        How many rows `frame` holds (known for lazy frames too).
    max_time_us : int | None
        Latest event time among the rows, only when known without reading them, and only when none of them is null.
        A lazy frame must have it if the source has an event time.
    dead_letters : pl.DataFrame | None
        Input that could not be understood, with `DEAD_LETTER_SCHEMA`.
    min_time_us : int | None
        Earliest event time, on the conditions of `max_time_us`; a lazy frame need not have it.
    end_bytes : int | None
        Bytes of the split before `position`, when they are not simply told by the rows before it.
    """

    frame: pl.DataFrame | pl.LazyFrame
    position: Position
    rows: int
    max_time_us: int | None = None
    dead_letters: pl.DataFrame | None = None
    min_time_us: int | None = None
    is_anew: bool = False
    """Whether the split was emptied and these are its first rows: none of them were given out before."""
    end_bytes: int | None = None


class SplitReader(ABC):
    """Reads one split in order. Not thread-safe; owned by one task."""

    @abstractmethod
    def read(self, limit: int, now_us: int) -> Read | None:
        """Return the next rows, about `limit` at most, or None when there are none now. Never blocks for long.

        `now_us` is the wall clock: the only clock that a reader may use.

        Raises
        ------
        SourceError
            If the split cannot be read and the source was told to fail on that.
        """

    def read_on(self, limit: int, now_us: int) -> Read | None:
        """Return the next rows as :meth:`read` does, over the cuts that the user made if the source joins batches."""
        return self.read(limit, now_us)

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether nothing will ever follow."""

    def wakeup_us(self, now_us: int) -> int | None:
        """Return when it is worth calling :meth:`read` again after it gave None; None means "soon, I can't tell"."""
        return None

    def change_pace(self, source: Source) -> None:
        """Go on at the pace of this source, which is otherwise the one that is read; for readers that keep time.

        What was not read in time is not made up for; so a pause ends with the same source once more.
        """

    def make_durable(self) -> None:
        """See to it that every position given out so far can be opened after a power failure: a checkpoint holds it.

        Raises
        ------
        SourceError
            If that is not possible.
        """

    def release(self, position: Position) -> None:
        """Take note that no position before this one will be opened again."""

    def close(self) -> None:
        """Release what is open. May be called more than once."""


class SplitFinder(ABC):
    """Finds the splits of a source that appear while it is read. Used by one thread at a time, not always the same."""

    @abstractmethod
    def find(self) -> Sequence[Split]:
        """Return the splits that are new since the last call, at first all that there are, in the best order.

        Nothing else waits for this, so it may take its time; what it costs should go by what is new.

        Raises
        ------
        SourceError
            If that cannot be told.
        """


@dataclass(frozen=True)
class Source(ABC):
    """Description of a source, part of the plan.

    Attributes
    ----------
    name : str
        Shown in plans, metrics and errors.
    schema : pl.Schema
        Columns and dtypes of every frame that it reads.
    timing : Timing
        Event time, watermark, idleness and pace.
    on_error : {"fail", "dead_letter"} | None
        What happens to input that cannot be understood; None leaves it to the job's options.
    """

    name: str
    schema: pl.Schema
    timing: Timing = field(kw_only=True, default_factory=Timing)
    on_error: Literal["fail", "dead_letter"] | None = field(kw_only=True, default=None)

    @property
    @abstractmethod
    def bounded(self) -> bool:
        """Whether it ends by itself."""

    @property
    def kind(self) -> str:
        """What sort of source it is: positions in one sort mean nothing to another."""
        return type(self).__name__.removesuffix("Source").lower()

    @property
    def replayable(self) -> bool:
        """Whether reading again from a position gives the same rows."""
        return True

    @property
    def discovers(self) -> bool:
        """Whether new splits can appear while a job runs, so that :meth:`splits` must be asked again."""
        return False

    def joining(self) -> Self:
        """Return the source for a query in which nothing shows how the user cut rows into batches.

        Batches that are there at once may then be given out as one; a step by hand still takes one.
        """
        return self

    @property
    def shows_cuts(self) -> bool:
        """Whether the user cut rows into batches, and a query shows it."""
        return False

    @property
    def joins_batches(self) -> bool:
        """Whether batches that are there at once are given out as one, though the user made the cuts."""
        return False

    @property
    def keeps_batches(self) -> bool:
        """Whether every read is a batch of its own, because the user made the cuts."""
        return False

    @property
    def rows(self) -> int | None:
        """How many rows there are; None where that is not known without a look at the data."""
        return None

    @property
    def max_parallelism(self) -> int | None:
        """How many subtasks can share the source; None means any number."""
        return None

    @property
    def pace_name(self) -> str:
        """How fast it is read, in a word such as ``"60x"``; empty when nobody can change that while it is read.

        Then it is live, or its rows have no times that a pace could go by.
        """
        return pace_name(self.timing.pace) if self.replayable and self.timing.event_time is not None else ""

    def at_pace(self, factor: float | None) -> Self:
        """Return the source giving its rows so many times faster than they happened; None: as fast as it goes."""
        return replace(self, timing=replace(self.timing, pace=factor))

    def shared(self, subtasks: int) -> Self:
        """Return the source as so many subtasks read it; only what can be cut at will is another source then."""
        return self

    @abstractmethod
    def splits(self) -> Sequence[Split]:
        """List the splits there are now, in the order in which they are best read."""

    def resumed(self, splits: Sequence[Split], begun: Collection[str]) -> Sequence[Split]:
        """Return the splits to read where those with the ids `begun` were: `splits`, unless it was cut otherwise."""
        return splits

    def finder(self, wanted: Callable[[str], bool], open_now: Collection[str] = ()) -> SplitFinder:
        """Return what finds the splits that appear; asked for when :attr:`discovers`.

        Parameters
        ----------
        wanted
            Whether a split with this id is to be found. It may be asked in any thread, and says the same every time.
        open_now
            Ids of the splits that are known and have not ended.
        """
        return _ByListing(self, wanted)

    def find(self, ids: Collection[str]) -> Sequence[Split]:
        """Return those of the splits with these ids that are there now."""
        return [split for split in self.splits() if split.id in ids]

    def turn_of(self, split: Split, position: Position, skip: int = 0) -> int:
        """Return the place of the row that is `skip` rows behind a position among the rows of all splits.

        Of splits that are at one event time the one with the lowest is read next. 0 for all of them if they are best
        read one after the other.
        """
        return 0

    @abstractmethod
    def open(self, split: Split, position: Position) -> SplitReader:
        """Start reading a split from a position; `START` is its beginning."""

    def describe(self) -> str:
        """Return one line for plans: what is read and from where, without secrets."""
        return self.name


class _ByListing(SplitFinder):
    """Lists all splits each time: good for a source that has few."""

    def __init__(self, source: Source, wanted: Callable[[str], bool]) -> None:
        self._source, self._wanted = source, wanted
        self._found: set[str] = set()

    def find(self) -> Sequence[Split]:
        listed = self._source.splits()
        new = [split for split in listed if split.id not in self._found and self._wanted(split.id)]
        self._found.update(split.id for split in new)
        return new
