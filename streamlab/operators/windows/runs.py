"""State as a list of immutable frames, merged now and then like the runs of a log-structured merge tree.

Adding costs what the added frame costs, whatever lies behind it: a row is merged again only when eight runs of a like
size have gathered, or 32 small ones (tiered compaction: O'Neil, Cheng, Gawlick, O'Neil, *The log-structured
merge-tree*, 1996). Every run is sorted by one Int64 column, so that everything below a bound is a slice found by binary
search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

_FAN_IN = 8
_SMALL_FAN_IN = 32
"""The same of runs of few rows, whose merge costs what it takes to begin one."""
_SMALL_ROWS_LOG2 = 8


@dataclass(frozen=True)
class _Run:
    frame: pl.DataFrame
    capacity: int
    """Rows of the buffers that `frame` is a slice of."""
    order: str

    @cached_property
    def _values(self) -> np.ndarray:
        # A binary search through Polars' expressions costs eighty times what it costs on the column's own memory.
        return self.frame[self.order].to_numpy()

    def at(self, bound: int) -> int:
        """Return how many rows lie before `bound`."""
        return int(np.searchsorted(self._values, bound))

    @property
    def level(self) -> int:
        """How often eight equal runs were merged to get this large; all small runs are alike."""
        return max(0, self.frame.height.bit_length() - _SMALL_ROWS_LOG2) // (_FAN_IN.bit_length() - 1)


class Runs:
    """A growing set of rows, oldest first.

    Parameters
    ----------
    order
        Int64 column without nulls that runs are sorted by.
    merge
        Makes one frame of several that lie behind each other, oldest first, joined in one: rows that stand for the
        same thing become one. Its result may be in any order.
    frames
        What was there before (a snapshot), each in any order.
    """

    def __init__(
        self, order: str, merge: Callable[[pl.DataFrame], pl.DataFrame], frames: Iterable[pl.DataFrame] = ()
    ) -> None:
        self._order = order
        self._merge = merge
        self._runs = [self._run(frame) for frame in frames if frame.height]

    @property
    def frames(self) -> tuple[pl.DataFrame, ...]:
        """The rows, as immutable frames, oldest first."""
        return tuple(run.frame for run in self._runs)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(run.frame.height for run in self._runs)

    @property
    def size_bytes(self) -> int:
        """Estimated memory."""
        return sum(int(run.frame.estimated_size()) for run in self._runs)

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows that came after all others."""
        if frame.height:
            self._runs.append(self._run(frame))
            self._compact(-1)

    def add_first(self, frame: pl.DataFrame) -> None:
        """Add rows that came before all others."""
        if frame.height:
            self._runs.insert(0, self._run(frame))
            self._compact(1)

    def between(self, low: int, high: int) -> list[pl.DataFrame]:
        """Return the rows with ``low <= order < high``, as non-empty slices."""
        found = [run.frame.slice(at, run.at(high) - at) for run in self._runs for at in [run.at(low)]]
        return [frame for frame in found if frame.height]

    def take_before(self, bound: int) -> list[pl.DataFrame]:
        """Remove and return the rows with ``order < bound``, as non-empty slices."""
        taken: list[pl.DataFrame] = []
        kept: list[_Run] = []
        for run in self._runs:
            at = run.at(bound)
            if at:
                taken.append(run.frame.head(at))
            if at < run.frame.height:
                kept.append(self._tail(run, at) if at else run)
        self._runs = kept
        return taken

    def replace(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Replace every run by what `change`, a filter, leaves of it."""
        changed = [change(run.frame) for run in self._runs]
        self._runs = [self._whole(frame) for frame in changed if frame.height]

    def minimum(self, column: str) -> int | None:
        """Return the least value of an Int64 column, or None when there are no rows."""
        least = [run.frame[column].min() for run in self._runs]
        return min((int(value) for value in least if isinstance(value, int)), default=None)

    def _run(self, frame: pl.DataFrame) -> _Run:
        order = frame[self._order]
        if order.min() != order.max():
            frame = frame.sort(self._order, maintain_order=True)
        return self._whole(frame)

    def _whole(self, frame: pl.DataFrame) -> _Run:
        return _Run(frame, frame.height, self._order)

    def _tail(self, run: _Run, at: int) -> _Run:
        """Return the rest of a run; a copy when less than half of its memory is still in use."""
        rest = run.frame.slice(at)
        if rest.height * 2 > run.capacity:
            return _Run(rest, run.capacity, self._order)
        return self._whole(rest.select(pl.all().gather(pl.int_range(pl.len()))))

    def _compact(self, direction: int) -> None:
        """Merge the runs at the end that just grew, from the first (1) or the last (-1) on, while enough are alike."""
        while True:
            ordered = self._runs[::direction]
            level = ordered[0].level
            count = next((n for n, run in enumerate(ordered) if run.level > level), len(ordered))
            if count < (_FAN_IN if level else _SMALL_FAN_IN):
                return
            group = slice(0, count) if direction == 1 else slice(len(self._runs) - count, None)
            self._runs[group] = [self._run(self._merge(pl.concat([run.frame for run in self._runs[group]])))]
