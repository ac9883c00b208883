"""One row of fixed-width values per key, for millions of keys: what incremental aggregates are kept in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.state.tables.dense_columns import DenseColumns
from streamlab.state.tables.hash_table import Slots
from streamlab.state.tables.key_index import KeyIndex
from streamlab.state.tables.slot_order import in_order

_PAGE_BITS = 16
PAGE_SLOTS = 1 << _PAGE_BITS
"""Slots of a page: the unit in which a snapshot shares what has not changed with the one before."""


class FixedWidthTable:
    """Keys and their rows of values, addressed by the slots of a :class:`KeyIndex`.

    :meth:`frames` gives immutable pages of :data:`PAGE_SLOTS` slots with key columns and values; a page in which
    nothing was written or removed since the last call is the same object as then.

    Parameters
    ----------
    key_schema, value_schema
        Columns of the keys and of the values.
    """

    def __init__(self, key_schema: pl.Schema, value_schema: pl.Schema) -> None:
        self.index = KeyIndex(key_schema)
        self._names = key_schema.names()
        self._values = DenseColumns(value_schema)
        self._values.reserve(self.index.size)
        self._keys = _KeyPages(key_schema, self.index.size)
        self._held = np.zeros(PAGE_SLOTS, np.bool_)
        self._dirty = np.ones(1, np.bool_)
        self._pages: list[pl.DataFrame] = []
        self._rows = 0

    @property
    def rows(self) -> int:
        """How many keys have a row."""
        return self._rows

    @property
    def unused(self) -> int:
        """How many slots belong to keys whose row is gone."""
        return self.index.size - self._rows

    @property
    def size_bytes(self) -> int:
        """Memory of the index, the keys and the values."""
        return self.index.size_bytes + self._keys.size_bytes + self._values.size_bytes + len(self._held)

    def slots(self, keys: pl.DataFrame) -> Slots:
        """Return the slot of each row's key; `keys` may have other columns too.

        New keys get new slots: :meth:`extend` must follow before anything else is asked.
        """
        return self.index.slots(keys, insert=True)

    def extend(self, keys: pl.DataFrame) -> None:
        """Take note of the keys of all slots that are new, in the order of the slots; other columns don't matter."""
        if keys.height:
            self._keys.append(keys[self._names])
            self._reserve(self.index.size)

    def holds(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Return which slots have a row."""
        return self._held[slots]

    def get(self, slots: Slots) -> pl.DataFrame:
        """Return the values of slots in their order; zeros for a slot that has never had a row."""
        return self._values.read(slots)

    def add(self, slots: Slots, rows: pl.DataFrame) -> None:
        """Set the rows of some slots that have none, each given once, in rising order."""
        if len(slots):
            self.begin(slots)
            self.put(slots, rows)

    def begin(self, slots: Slots) -> None:
        """Give some slots that have never had one a row of zeros, each given once."""
        self._rows += len(slots)
        self._held[slots] = True

    def put(self, slots: Slots, rows: pl.DataFrame) -> None:
        """Set the rows of some slots that have one, each given once, in rising order."""
        if len(slots):
            self._values.write(slots, rows)
            self._dirty[slots >> _PAGE_BITS] = True

    def can_increase(self, rows: pl.DataFrame) -> bool:
        """Return whether :meth:`increase` can take these rows."""
        return self._values.can_add(rows)

    def increase(self, slots: Slots, rows: pl.DataFrame) -> pl.DataFrame:
        """Add to the rows of some slots that have one, each given once, and return them as they are.

        It is :meth:`get`, a sum of columns and :meth:`put` at half the price.
        """
        self._dirty[slots >> _PAGE_BITS] = True
        return self._values.add(slots, rows)

    def drop(self, slots: Slots) -> None:
        """Remove the rows of some slots that have one, each given once."""
        self._rows -= len(slots)
        self._held[slots] = False
        self._dirty[slots >> _PAGE_BITS] = True

    def frames(self) -> tuple[pl.DataFrame, ...]:
        """Return all rows, keys first, as immutable pages."""
        for page in range(-(-self.index.size // PAGE_SLOTS)):
            if page < len(self._pages) and not self._dirty[page]:
                continue
            keys = self._keys.page(page)
            span = slice(page * PAGE_SLOTS, page * PAGE_SLOTS + keys.height)
            frame = pl.concat([keys, self._values.read(span)], how="horizontal").filter(pl.Series(self._held[span]))
            self._pages[page : page + 1] = [frame]
            self._dirty[page] = False
        return tuple(frame for frame in self._pages if frame.height)

    def load(self, frame: pl.DataFrame) -> None:
        """Add rows as :meth:`frames` gives them."""
        known = self.index.size
        places, slots = in_order(self.slots(frame))
        rows = frame[pl.Series(places)]
        self.extend(rows[int(np.searchsorted(slots, known)) :])
        self.add(slots, rows)

    def _reserve(self, size: int) -> None:
        pages = -(-size // PAGE_SLOTS)
        if pages > len(self._dirty):
            more = max(pages, 2 * len(self._dirty)) - len(self._dirty)
            self._dirty = np.concatenate((self._dirty, np.ones(more, np.bool_)))
            self._held = np.concatenate((self._held, np.zeros(more * PAGE_SLOTS, np.bool_)))
        self._values.reserve(size)


class _KeyPages:
    """Keys in the order of their slots, cut into pages of equal size."""

    def __init__(self, schema: pl.Schema, reserved: int) -> None:
        # A reserved slot belongs to the null key.
        first = pl.DataFrame({name: [None] * reserved for name in schema}, schema=schema)
        self._pages: list[pl.DataFrame] = []
        self._tail: list[pl.DataFrame] = [first]
        self._tail_rows = reserved

    @property
    def size_bytes(self) -> int:
        return sum(int(frame.estimated_size()) for frame in (*self._pages, *self._tail))

    def append(self, keys: pl.DataFrame) -> None:
        self._tail.append(keys)
        self._tail_rows += keys.height
        if self._tail_rows >= PAGE_SLOTS:
            tail = pl.concat(self._tail)
            full = tail.height // PAGE_SLOTS
            # A page of its own memory, lest a slice keeps the whole batch alive.
            self._pages += [tail[at * PAGE_SLOTS : (at + 1) * PAGE_SLOTS].rechunk() for at in range(full)]
            rest = tail[full * PAGE_SLOTS :]
            self._tail, self._tail_rows = [rest], rest.height

    def page(self, page: int) -> pl.DataFrame:
        if page < len(self._pages):
            return self._pages[page]
        self._tail = [pl.concat(self._tail)]
        return self._tail[0]
