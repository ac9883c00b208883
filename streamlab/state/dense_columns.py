"""Fixed-width columns by slot number: one NumPy array a column, read and written a batch of slots at a time.

Reading and writing cost the same whatever the number of slots behind them, but for the processor's caches, and no more
than the values' own bytes. Nulls are kept beside the values, in an array that is made with the first null.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streamlab.state.hash_table import Slots

_DECIMAL = np.dtype(np.complex128)
"""Moves the 16 bytes of a decimal as one value; never computed with."""

_FIRST_CAPACITY = 1024


def is_fixed_width(dtype: pl.DataType) -> bool:
    """Return whether :class:`DenseColumns` can hold a column of this dtype."""
    if dtype in {pl.Int128, pl.UInt128, pl.Float16}:
        return False
    return dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean


class DenseColumns:
    """Columns of a frame, addressed by slot.

    Parameters
    ----------
    schema
        Names and dtypes, each of which :func:`is_fixed_width`.

    Examples
    --------
    >>> columns = DenseColumns(pl.Schema({"n": pl.Int64}))
    >>> columns.write(np.array([3, 0]), pl.DataFrame({"n": [30, None]}))
    >>> columns.read(np.array([0, 3])).rows()
    [(None,), (30,)]
    """

    def __init__(self, schema: pl.Schema) -> None:
        self._columns = {name: _Column(dtype) for name, dtype in schema.items()}

    @property
    def size_bytes(self) -> int:
        """Memory of the arrays."""
        return sum(column.size_bytes for column in self._columns.values())

    def read(self, slots: Slots | slice) -> pl.DataFrame:
        """Return a row for each slot; every one must have been written."""
        return pl.DataFrame([column.read(slots).alias(name) for name, column in self._columns.items()])

    def write(self, slots: Slots, values: pl.DataFrame) -> None:
        """Set the rows of some slots, each given once; other columns of `values` don't matter."""
        size = int(slots.max()) + 1 if len(slots) else 0
        for name, column in self._columns.items():
            column.reserve(size)
            column.write(slots, values.get_column(name))


class _Column:
    def __init__(self, dtype: pl.DataType) -> None:
        self._dtype = dtype
        self._physical = _physical(dtype)
        width = _DECIMAL if dtype.is_decimal() else pl.Series([], dtype=self._physical).to_numpy().dtype
        self._values: npt.NDArray[Any] = np.zeros(_FIRST_CAPACITY, width)
        self._null: npt.NDArray[np.bool_] | None = None

    @property
    def size_bytes(self) -> int:
        return self._values.nbytes + (0 if self._null is None else self._null.nbytes)

    def reserve(self, size: int) -> None:
        if size > len(self._values):
            capacity = 1 << (size - 1).bit_length()
            self._values = _grown(self._values, capacity)
            self._null = None if self._null is None else _grown(self._null, capacity)

    def read(self, slots: Slots | slice) -> pl.Series:
        # A slice of an array is a view of it, which a frame would share and see being written.
        values = self._values[slots].copy() if isinstance(slots, slice) else self._values[slots]
        if self._dtype.is_decimal():
            buffers = [None, pa.py_buffer(values)]
            column = pl.Series(pa.Array.from_buffers(_arrow_decimal(self._dtype), len(values), buffers))
        else:
            column = pl.Series(values, dtype=self._physical)
            column = column if self._dtype == self._physical else column.cast(self._dtype)
        if self._null is None or not (null := self._null[slots]).any():
            return column
        return column.to_frame("c").select(pl.when(~pl.Series(null)).then("c")).to_series()

    def write(self, slots: Slots, column: pl.Series) -> None:
        nulls = column.null_count()
        if nulls and self._null is None:
            self._null = np.zeros(len(self._values), np.bool_)
        if self._null is not None:
            self._null[slots] = column.is_null().to_numpy() if nulls else False
        if self._dtype.is_decimal():
            array = column.rechunk().to_arrow()
            values = np.frombuffer(array.buffers()[1], _DECIMAL)[array.offset : array.offset + len(array)]
        else:
            physical = column.to_physical() if self._dtype.is_temporal() else column
            if self._dtype == pl.Boolean:
                physical = physical.cast(pl.UInt8)
            values = (physical.fill_null(0) if nulls else physical).to_numpy()
        self._values[slots] = values


def _physical(dtype: pl.DataType) -> pl.DataType:
    if dtype == pl.Boolean:
        return pl.UInt8()
    return pl.Series([], dtype=dtype).to_physical().dtype if dtype.is_temporal() else dtype


def _arrow_decimal(dtype: pl.DataType) -> Any:
    return pl.Series([], dtype=dtype).to_arrow().type


def _grown(array: npt.NDArray[Any], capacity: int) -> npt.NDArray[Any]:
    larger = np.zeros(capacity, array.dtype)
    larger[: len(array)] = array
    return larger
