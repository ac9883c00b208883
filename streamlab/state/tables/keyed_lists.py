"""All rows of each key, however many, by the slots that a `KeyIndex` gives keys.

Rows lie in pages in the order in which they came. Beside them an array, the *postings*, lists row numbers: what a batch
brings of one key stands there side by side, as a *segment*, and each segment knows the one before it of the same key.
So a batch is added with one ordering and three writes, whatever lies behind it, and the rows of a key are found by
going from its newest segment back. A key that has many segments gets one for all of them when its rows are looked for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.state.tables.hash_table import Slots
from streamlab.state.tables.row_pages import RowNumbers, RowPages, consecutive
from streamlab.state.tables.slot_order import in_order

_NONE = -1
_MOST_SEGMENTS = 16
"""Segments of a key from which on they are made one when they are read."""
_LEAST_POSTINGS = 1024
_ROW_BITS = 31

_Numbers = npt.NDArray[np.int64]


class KeyedLists:
    """The rows of each key.

    Parameters
    ----------
    schema
        Columns of the rows.

    Examples
    --------
    >>> lists = KeyedLists(pl.Schema({"x": pl.Int64}))
    >>> lists.append(np.array([1, 0, 1]), pl.DataFrame({"x": [10, 11, 12]}))
    >>> at, numbers = lists.find(np.array([2, 1]))
    >>> at.tolist(), lists.rows.take(numbers)["x"].to_list()
    ([1, 1], [10, 12])
    """

    def __init__(self, schema: pl.Schema) -> None:
        self.rows = RowPages(schema)
        """The rows, by the numbers that :meth:`find` gives."""
        self._postings: _Numbers = np.empty(_LEAST_POSTINGS, np.int64)
        self._end = 0
        self._unused = 0
        # Of each segment: where it begins in the postings, how long it is, the one before it of its key.
        self._segments: _Numbers = np.empty((3, _LEAST_POSTINGS), np.int64)
        self._segment_count = 0
        # Of each slot: its newest segment, and how many it has.
        self._newest: _Numbers = np.full(_LEAST_POSTINGS, _NONE, np.int64)
        self._depth: _Numbers = np.zeros(_LEAST_POSTINGS, np.int64)

    @property
    def size_bytes(self) -> int:
        """Estimated memory."""
        arrays = self._postings, self._segments, self._newest, self._depth
        return self.rows.size_bytes + sum(array.nbytes for array in arrays)

    def append(self, slots: Slots, rows: pl.DataFrame) -> None:
        """Add a row to each of the slots, in their order."""
        if not len(slots):
            return
        first = self.rows.append(rows)
        places, ordered = in_order(slots)
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        own = ordered[starts]
        self._reserve(int(own[-1]) + 1)
        counts = np.diff(np.concatenate((starts, [len(ordered)])))
        self._add(own, self._write(places.astype(np.int64) + first) + starts, counts, self._newest[own])
        self._depth[own] += 1

    def find(self, slots: Slots) -> tuple[_Numbers, RowNumbers]:
        """Return for each row of each slot the slot's place in what is given, and the row's number.

        Slots may be repeated, and be -1 or unknown, which have no rows. They come in the order in which they are
        given, and a slot's rows in the order in which they came.
        """
        known = (slots >= 0) & (slots < len(self._newest))
        (at,) = np.nonzero(known)
        own = slots[at]
        deep = np.unique(own[self._depth[own] > _MOST_SEGMENTS])
        if len(deep):
            self._join(deep)
        places, numbers = self._rows_of(own)
        return at[places], numbers

    def _rows_of(self, slots: Slots) -> tuple[_Numbers, RowNumbers]:
        """Do the same for slots that are known, whatever number of segments they have."""
        at, segment = np.arange(len(slots)), self._newest[slots]
        found: list[tuple[_Numbers, RowNumbers]] = []
        while True:
            is_there = segment >= 0
            at, segment = at[is_there], segment[is_there]
            if not len(at):
                break
            begin, count, before = self._segments[:, segment]
            found.append((np.repeat(at, count), self._postings[consecutive(begin, count)]))
            segment = before
        if len(found) == 1:
            return found[0]
        if not found:
            return at, np.empty(0, np.int64)
        # What was found newest first is put by place, and the rows of each in the order in which they came.
        ats, numbers = (np.concatenate(parts) for parts in zip(*found, strict=True))
        ordered = ats << _ROW_BITS
        ordered |= numbers
        ordered.sort()
        return ordered >> _ROW_BITS, ordered & ((1 << _ROW_BITS) - 1)

    def _join(self, slots: Slots) -> None:
        """Make one segment of all that some slots have, each given once; what nothing leads to any more goes later."""
        places, numbers = self._rows_of(slots)
        self._unused += len(numbers)
        if self._unused * 2 > self._end + len(numbers):
            (slots,) = np.nonzero(self._newest >= 0)
            places, numbers = self._rows_of(slots)
            self._end = self._unused = self._segment_count = 0
        counts = np.bincount(places, minlength=len(slots))
        begins = self._write(numbers) + np.cumsum(counts) - counts
        self._add(slots, begins, counts, np.full(len(slots), _NONE))
        self._depth[slots] = 1

    def _add(self, slots: Slots, begins: _Numbers, counts: _Numbers, before: _Numbers) -> None:
        """Add a segment for each of the slots, each given once, and make it their newest."""
        first, last = self._segment_count, self._segment_count + len(slots)
        if last > self._segments.shape[1]:
            self._segments = _grown(self._segments, last)
        self._segments[:, first:last] = begins, counts, before
        self._segment_count = last
        self._newest[slots] = np.arange(first, last)

    def _write(self, numbers: RowNumbers) -> int:
        """Write row numbers behind the postings, and return where they begin."""
        begin, self._end = self._end, self._end + len(numbers)
        if self._end > len(self._postings):
            self._postings = _grown(self._postings, self._end)
        self._postings[begin : self._end] = numbers
        return begin

    def _reserve(self, size: int) -> None:
        known = len(self._newest)
        if size > known:
            self._newest, self._depth = _grown(self._newest, size), _grown(self._depth, size)
            self._newest[known:], self._depth[known:] = _NONE, 0


def _grown(array: _Numbers, size: int) -> _Numbers:
    """Return an array with the same numbers first, and room for so many in its last dimension."""
    larger = np.empty((*array.shape[:-1], 1 << (size - 1).bit_length()), np.int64)
    larger[..., : array.shape[-1]] = array
    return larger
