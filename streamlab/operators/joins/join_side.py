"""One side of a join as it is kept: its rows by key, how often each is there, and how many a key has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.core.changelog import ADDS, ROW_KIND
from streamlab.core.column_names.own_columns import own
from streamlab.state.tables.hash_table import Slots
from streamlab.state.tables.key_index import KeyIndex
from streamlab.state.tables.keyed_lists import KeyedLists
from streamlab.state.tables.row_pages import RowNumbers
from streamlab.state.tables.slot_order import in_order

COUNT = own("count")
"""How often a row is there, in snapshots of a side whose rows can be taken back."""
_LEAST_GONE = 65_536
"""Rows that are gone below which it is not worth storing the others anew."""
_LEAST_SIZE = 1024

_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """What a batch changes on its side.

    Attributes
    ----------
    rows : pl.DataFrame
        Rows that come or go.
    slots : Slots
        The key of each.
    amounts : npt.NDArray[np.int64]
        How often each comes; negative: goes.
    opened, closed : Slots
        Keys that had no row before and have one now, and the other way round.
    """

    rows: pl.DataFrame
    slots: Slots
    amounts: _Numbers
    opened: Slots
    closed: Slots


class JoinSide:
    """The rows of one side.

    Parameters
    ----------
    schema
        Columns of its rows, keys included.
    updating
        Whether rows can be taken back: then equal rows are kept once, with how often they are there.
    """

    def __init__(self, schema: pl.Schema, *, updating: bool) -> None:
        self._schema = schema
        self._updating = updating
        self._live: _Numbers = np.zeros(_LEAST_SIZE, np.int64)
        self.ignored = 0
        """Retractions that found nothing to take back."""
        self._begin()

    def _begin(self) -> None:
        self._lists = KeyedLists(self._schema)
        self._distinct = KeyIndex(self._schema)
        # Of each distinct row its number among all rows, or -1; of each number how often the row is there.
        self._number: _Numbers = np.full(_LEAST_SIZE, -1, np.int64)
        self._count: _Numbers = np.zeros(_LEAST_SIZE, np.int64)
        self._gone = 0

    @property
    def rows(self) -> int:
        """Distinct rows that are there."""
        return self._lists.rows.rows - self._gone

    @property
    def size_bytes(self) -> int:
        """Estimated memory."""
        arrays = (self._live, self._number, self._count) if self._updating else (self._live,)
        return self._lists.size_bytes + self._distinct.size_bytes + sum(array.nbytes for array in arrays)

    def live(self, slots: Slots) -> _Numbers:
        """Return how many rows the keys have."""
        self._live = _sized(self._live, int(slots.max(initial=-1)) + 1, 0)
        return self._live[slots]

    def change(self, slots: Slots, rows: pl.DataFrame) -> Change:
        """Add rows, or take them back as their row kinds say, and return what has changed."""
        amounts: _Numbers = np.ones(len(slots), np.int64)
        if self._updating:
            slots, rows, amounts = self._counted(slots, rows)
        else:
            self._lists.append(slots, rows)
        touched = np.unique(slots)
        before = self.live(touched)
        np.add.at(self._live, slots, amounts)
        after = self._live[touched]
        if self._gone > max(_LEAST_GONE, self.rows):
            self._sweep()
        return Change(rows, slots, amounts, touched[(before == 0) & (after > 0)], touched[(before > 0) & (after == 0)])

    def find(self, slots: Slots) -> tuple[_Numbers, RowNumbers]:
        """Return for each row of each slot the slot's place in what is given, and the row's number."""
        at, numbers = self._lists.find(slots)
        if not self._updating:
            return at, numbers
        counts = self._count[numbers]
        return np.repeat(at, counts), np.repeat(numbers, counts)

    def take(self, numbers: RowNumbers) -> pl.DataFrame:
        """Return the rows of these numbers."""
        return self._lists.rows.take(numbers)

    def frames(self) -> tuple[pl.DataFrame, ...]:
        """Return all rows, for a snapshot."""
        frames = self._lists.rows.frames()
        if not self._updating:
            return frames
        ends = np.cumsum([frame.height for frame in frames]).tolist()
        counts = (self._count[end - frame.height : end] for frame, end in zip(frames, ends, strict=True))
        counted = [frame.with_columns(pl.Series(COUNT, own)) for frame, own in zip(frames, counts, strict=True)]
        there = [frame.filter(pl.col(COUNT) > 0) for frame in counted]
        return tuple(frame for frame in there if frame.height)

    def load(self, slots: Slots, frame: pl.DataFrame) -> None:
        """Add rows of a snapshot, which this side does not have."""
        counts: _Numbers = np.ones(frame.height, np.int64)
        if self._updating:
            counts, frame = frame.get_column(COUNT).to_numpy(), frame.drop(COUNT)
            self._number_next(self._distinct.slots(frame, insert=True), counts)
        self._lists.append(slots, frame)
        self.live(slots)
        np.add.at(self._live, slots, counts)

    def _counted(self, slots: Slots, rows: pl.DataFrame) -> tuple[Slots, pl.DataFrame, _Numbers]:
        """Count rows, and return those whose count has changed, with how much."""
        signs: _Numbers = np.ones(rows.height, np.int64)
        if ROW_KIND in rows.columns:
            signs[~rows.get_column(ROW_KIND).is_in([int(kind) for kind in ADDS]).to_numpy()] = -1
            rows = rows.drop(ROW_KIND)
        places, ordered = in_order(self._distinct.slots(rows, insert=True))
        self._number = _sized(self._number, self._distinct.size, -1)
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        distinct, first = ordered[starts], places[starts]
        own = signs[places]
        total = np.add.reduceat(own, starts)
        # How far the sum of the signs of a row falls on the way: what is not there cannot be taken back.
        ends = np.cumsum(own)
        sums = ends - np.repeat(ends[starts] - own[starts], np.diff(np.concatenate((starts, [len(own)]))))
        number = self._number[distinct]
        is_known = number >= 0
        before = np.where(is_known, self._count[number], 0)
        ignored = np.maximum(-(before + np.minimum.reduceat(sums, starts)), 0)
        after = before + total + ignored
        self.ignored += int(ignored.sum())
        was, goes_on = before[is_known] > 0, after[is_known] > 0
        self._gone += int(np.count_nonzero(was & ~goes_on) - np.count_nonzero(goes_on & ~was))
        self._count[number[is_known]] = after[is_known]
        is_new = ~is_known & (after > 0)
        new = first[is_new]
        self._number_next(distinct[is_new], after[is_new])
        self._lists.append(slots[new], rows[pl.Series(new)])
        changed = first[after != before]
        return slots[changed], rows[pl.Series(changed)], (after - before)[after != before]

    def _number_next(self, distinct: Slots, counts: _Numbers) -> None:
        """Give distinct rows the numbers that those have which are added next."""
        first = self._lists.rows.rows
        self._number = _sized(self._number, int(distinct.max(initial=-1)) + 1, -1)
        self._number[distinct] = np.arange(first, first + len(distinct))
        self._count = _sized(self._count, first + len(distinct), 0)
        self._count[first : first + len(distinct)] = counts

    def _sweep(self) -> None:
        """Store the rows that are there anew, without those that are gone."""
        at, numbers = self._lists.find(np.arange(len(self._live)))
        is_there = self._count[numbers] > 0
        slots, numbers = at[is_there], numbers[is_there]
        order = np.argsort(numbers)
        slots, numbers = slots[order], numbers[order]
        frame = self.take(numbers).with_columns(pl.Series(COUNT, self._count[numbers]))
        self._live[:] = 0
        self._begin()
        self.load(slots, frame)


def _sized(array: _Numbers, size: int, fill: int) -> _Numbers:
    """Return the array, or a larger one with the same numbers first, that has room for so many."""
    if size <= len(array):
        return array
    larger = np.full(1 << (size - 1).bit_length(), fill, np.int64)
    larger[: len(array)] = array
    return larger
