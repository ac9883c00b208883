"""From key rows to dense slots: what makes a batch's cost independent of the number of keys behind it.

Keys are equal when Polars groups them together: null is a key, all NaN are one key, -0.0 is 0.0. A key of one column of
at most 64 bits (integers, Boolean, times, floats, Enum) is looked up by its exact bits; many whole numbers that lie
close together are looked up by themselves. Any other key is looked up by
two 64-bit hashes of its row with different seeds: that two of `n` keys are taken for one has the probability
``n² / 2^129``, about 1.5e-25 for 10 million keys, far below that of a memory error.

Hashes never leave the process: state holds key columns, and an index is filled from them when state is restored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.core.errors import InternalError, PlanError, explained
from streamlab.state.tables.hash_table import Slots, Words, WordTable
from streamlab.state.tables.range_table import RangeTable, lie_close

_SEEDS = (0x243F6A8885A308D3, 0x13198A2E03707344)
"""Of the two row hashes: the first digits of pi."""

_FIRST_LOOK = 131_072
"""Keys from which on it is worth looking whether they lie close together."""


class KeyIndex:
    """Gives each distinct key a slot; slots are numbered without gaps.

    Slot numbers below `size` are given out or reserved: for a key of one narrow column slot 0 is kept for the null key,
    whether it comes or not.

    Parameters
    ----------
    key_schema
        Names and dtypes of the key columns, at least one.

    Raises
    ------
    PlanError
        If a column's dtype cannot be a key.

    Examples
    --------
    >>> index = KeyIndex(pl.Schema({"city": pl.String, "n": pl.Int64}))
    >>> index.slots(pl.DataFrame({"city": ["Bern", "Bern"], "n": [1, 1]}), insert=True)
    array([0, 0])
    >>> index.slots(pl.DataFrame({"city": ["Oslo", "Bern"], "n": [1, 1]}), insert=False)
    array([-1,  0])
    """

    def __init__(self, key_schema: pl.Schema) -> None:
        if not key_schema:
            raise InternalError(explained("keys", needed="at least one key column", got="none"))
        for name, dtype in key_schema.items():
            if dtype == pl.Object:
                got = f"column {name!r} of Python objects"
                raise PlanError(explained("group_by", needed="keys that can be compared", got=got))
        self.schema = key_schema
        self._names = key_schema.names()
        dtypes = key_schema.dtypes()
        self._exact = len(dtypes) == 1 and _fits_in_a_word(dtypes[0])
        self._reserved = 1 if self._exact else 0
        self._null_came = False
        self._table: WordTable | RangeTable = WordTable(1 if self._exact else 2)
        self._next_look = _FIRST_LOOK

    @property
    def size(self) -> int:
        """How many slots there are; all slot numbers are below it."""
        return self._reserved + self._table.size

    @property
    def size_bytes(self) -> int:
        """Memory of the index."""
        return self._table.size_bytes

    def slots(self, keys: pl.DataFrame, *, insert: bool) -> Slots:
        """Return the slot of each row's key as int64.

        Parameters
        ----------
        keys
            Frame that has the key columns, with the dtypes of the schema; other columns don't matter.
        insert
            Whether a key that is not there gets a slot; otherwise it is answered with -1.
        """
        columns = keys.select(self._names)
        if not columns.height:
            return np.empty(0, np.int64)
        if not self._exact:
            hashes = [columns.hash_rows(seed=seed).to_numpy() for seed in _SEEDS]
            return self._table.slots(hashes, insert=insert)
        column = columns.to_series()
        if not column.null_count():
            found = self._of_words(_word(column), insert=insert)
            return np.add(found, 1, out=found) if insert else _shifted(found)
        known = column.is_not_null()
        self._null_came = self._null_came or insert
        slots = np.full(len(column), 0 if self._null_came else -1, np.int64)
        slots[known.to_numpy()] = _shifted(self._of_words(_word(column.filter(known)), insert=insert))
        return slots

    def _of_words(self, words: Words, *, insert: bool) -> Slots:
        table = self._table
        if insert and isinstance(table, RangeTable) and not table.takes(words):
            self._table = table = WordTable.of(table.keys())
        elif insert and isinstance(table, WordTable) and table.size + len(words) >= self._next_look:
            self._next_look = 2 * (table.size + len(words))
            if lie_close(table.keys(), words):
                self._table = table = RangeTable(table.keys(), words)
        return table.slots([words], insert=insert)


def _fits_in_a_word(dtype: pl.DataType) -> bool:
    if dtype in {pl.Int128, pl.UInt128} or isinstance(dtype, pl.Decimal):
        return False
    return dtype.is_numeric() or dtype.is_temporal() or isinstance(dtype, pl.Boolean | pl.Enum)


def _word(column: pl.Series) -> Words:
    """Return the bits of a column without nulls, equal exactly for values that Polars groups together."""
    physical = column.to_physical()
    if physical.dtype.is_float():
        # Adding zero turns -0.0 into 0.0; the constant stands for every NaN.
        values: npt.NDArray[np.float64] = physical.cast(pl.Float64).to_numpy() + 0.0
        values[np.isnan(values)] = np.nan
        return values.view(np.uint64)
    if physical.dtype == pl.UInt64:
        return physical.to_numpy()
    return physical.cast(pl.Int64).to_numpy().view(np.uint64)


def _shifted(slots: Slots) -> Slots:
    """Return the table's slots moved up by one, absent ones left at -1."""
    slots += slots >= 0
    return slots
