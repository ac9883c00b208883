"""One row of values of any dtype per key: :class:`.FixedWidthTable` for strings and lists.

Slower, since values are found by bisection in sorted runs, but never by more than the logarithm of their number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.state.tables.hash_table import Slots
from streamlab.state.tables.key_index import KeyIndex
from streamlab.state.tables.slot_order import in_order
from streamlab.state.tables.slot_runs import SLOT, SlotRuns


class VariableWidthTable:
    """Keys and their rows of values; the same calls as ``FixedWidthTable``.

    Parameters
    ----------
    key_schema, value_schema
        Columns of the keys and of the values.
    """

    def __init__(self, key_schema: pl.Schema, value_schema: pl.Schema) -> None:
        self.index = KeyIndex(key_schema)
        self._columns = [*key_schema, *value_schema]
        self._values = value_schema
        self._runs = SlotRuns()
        self._held = np.zeros(1024, np.bool_)

    @property
    def rows(self) -> int:
        """How many keys have a row."""
        return self._runs.rows

    @property
    def unused(self) -> int:
        """How many slots belong to keys whose row is gone."""
        return self.index.size - self.rows

    @property
    def size_bytes(self) -> int:
        """Memory of the index and the rows."""
        return self.index.size_bytes + self._runs.size_bytes + self._held.nbytes

    def slots(self, keys: pl.DataFrame) -> Slots:
        """Return the slot of each row's key; `keys` may have other columns too.

        New keys get new slots: :meth:`extend` must follow before anything else is asked.
        """
        return self.index.slots(keys, insert=True)

    def extend(self, keys: pl.DataFrame) -> None:
        """Make room for all slots that are new; their keys come with their rows."""
        if keys.height and self.index.size > len(self._held):
            larger = np.zeros(1 << (self.index.size - 1).bit_length(), np.bool_)
            larger[: len(self._held)] = self._held
            self._held = larger

    def holds(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Return which slots have a row."""
        return self._held[slots]

    def get(self, slots: Slots) -> pl.DataFrame:
        """Return the values of slots that have a row, in their order."""
        found = self._runs.fetch(slots)
        if found is None:
            return pl.DataFrame(schema=self._values)
        back = np.empty(len(slots), np.int64)
        back[np.argsort(slots)] = np.argsort(found.get_column(SLOT).to_numpy())
        return found[back].select(self._values.names())

    def add(self, slots: Slots, rows: pl.DataFrame) -> None:
        """Set the keys and values of some slots that have none, each given once, in rising order."""
        self._held[slots] = True
        self.put(slots, rows)

    def put(self, slots: Slots, rows: pl.DataFrame) -> None:
        """Set the keys and values of some slots, each given once, in rising order."""
        self._runs.replace(slots, rows.select(self._columns).with_columns(pl.Series(SLOT, slots)))

    def drop(self, slots: Slots) -> None:
        """Remove the rows of some slots that have one, each given once."""
        self._held[slots] = False
        self._runs.replace(slots, pl.DataFrame())

    def frames(self) -> tuple[pl.DataFrame, ...]:
        """Return all rows, keys first, as immutable frames."""
        return self._runs.frames()

    def load(self, frame: pl.DataFrame) -> None:
        """Add rows as :meth:`frames` gives them."""
        known = self.index.size
        places, slots = in_order(self.slots(frame))
        rows = frame[pl.Series(places)]
        self.extend(rows[int(np.searchsorted(slots, known)) :])
        self.add(slots, rows)
