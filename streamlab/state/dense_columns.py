"""Fixed-width columns by slot number, read and written a batch of slots at a time.

The values of a slot lie side by side in one row of 64-bit words (decimals take two), so that a slot costs one miss of
the processor's caches and not one for each column: with millions of slots that is what the time goes to. Reading and
writing cost the same whatever the number of slots behind them but for those misses. Nulls are bits of one more word for
each slot, kept from the first null on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streamlab.state.hash_table import Slots

_FIRST_CAPACITY = 1024
_GROWTH = 2
_MOST_COLUMNS = 64
"""Null bits in a word."""

_PART_ROWS = 4096
"""Rows that are added to at a time, so that what was read is still in the processor's caches when it is written."""

_SAFE_HIGH = 2**61
"""Upper words of decimals below which a sum of two is in range for certain."""

Block = npt.NDArray[np.uint64]
"""Words of some slots, one row each."""


def is_fixed_width(dtype: pl.DataType) -> bool:
    """Return whether :class:`DenseColumns` can hold a column of this dtype."""
    if dtype in {pl.Int128, pl.UInt128, pl.Float16}:
        return False
    return dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean


def fits(schema: pl.Schema) -> bool:
    """Return whether :class:`DenseColumns` can hold columns of these dtypes."""
    return len(schema) <= _MOST_COLUMNS and all(is_fixed_width(dtype) for dtype in schema.dtypes())


class DenseColumns:
    """Columns of a frame, addressed by slot.

    Parameters
    ----------
    schema
        Names and dtypes; they must be such that they :func:`fits`.

    Examples
    --------
    >>> columns = DenseColumns(pl.Schema({"n": pl.Int64}))
    >>> columns.write(np.array([0, 3]), pl.DataFrame({"n": [None, 30]}))
    >>> columns.read(np.array([0, 3])).rows()
    [(None,), (30,)]
    """

    def __init__(self, schema: pl.Schema) -> None:
        self._columns: list[_Column] = []
        width = 0
        for name, dtype in schema.items():
            self._columns.append(_Column(name, dtype, width))
            width += self._columns[-1].words
        self._words: Block = np.zeros((_FIRST_CAPACITY, width), np.uint64)
        self._size = 0
        self._nulls: npt.NDArray[np.uint64] | None = None

    @property
    def size_bytes(self) -> int:
        """Memory of the slots that are reserved."""
        return 8 * self._size * (int(self._words.shape[1]) + (self._nulls is not None))

    def read(self, slots: Slots | slice) -> pl.DataFrame:
        """Return a row for each slot; zeros for those that were never written. All must be reserved."""
        block = self._words[slots] if isinstance(slots, slice) else self._words.take(slots, axis=0)
        frame = pl.DataFrame([column.read(block) for column in self._columns])
        if self._nulls is None or not (nulls := self._nulls[slots]).any():
            return frame
        return frame.with_columns(
            pl.when(pl.Series((nulls >> np.uint64(at)) & np.uint64(1)) == 0).then(pl.col(column.name))
            for at, column in enumerate(self._columns)
        )

    def write(self, slots: Slots, values: pl.DataFrame) -> None:
        """Set the rows of some slots, each given once, in rising order; other columns of `values` don't matter."""
        if not len(slots):
            return
        first, last = int(slots[0]), int(slots[-1])
        self.reserve(last + 1)
        own = [values.get_column(column.name) for column in self._columns]
        is_span = last - first < len(slots)
        block = self._words[first : last + 1] if is_span else np.empty((len(slots), self._words.shape[1]), np.uint64)
        for column, series in zip(self._columns, own, strict=True):
            column.write(series, block)
        if not is_span:
            # As one opaque value a row: NumPy copies that in one go, and a row of words word by word.
            _rows(self._words)[slots] = _rows(block)
        if self._nulls is None and any(series.null_count() for series in own):
            self._nulls = np.zeros(len(self._words), np.uint64)
        if self._nulls is not None:
            bits = np.zeros(len(slots), np.uint64)
            for at, series in enumerate(own):
                bits |= series.is_null().to_numpy().astype(np.uint64) << np.uint64(at)
            self._nulls[slots] = bits

    def can_add(self, values: pl.DataFrame) -> bool:
        """Return whether :meth:`add` can take these values."""
        nulls = self._nulls is not None or any(values.get_column(one.name).null_count() for one in self._columns)
        return not nulls and all(column.can_add for column in self._columns)

    def add(self, slots: Slots, values: pl.DataFrame) -> pl.DataFrame:
        """Add values to the rows of some slots, each given once, in rising order, and return the rows as they are now.

        Raises
        ------
        polars.exceptions.ComputeError
            If a decimal overflows. Integers wrap.
        """
        added = [column.words_of(values.get_column(column.name)) for column in self._columns]
        sums = [np.empty_like(words) for words in added]
        rows = _rows(self._words)
        for at in range(0, len(slots), _PART_ROWS):
            part = slice(at, at + _PART_ROWS)
            block = self._words.take(slots[part], axis=0)
            for column, new, out in zip(self._columns, added, sums, strict=True):
                column.add(block, new[part], out[part])
            rows[slots[part]] = _rows(block)
        return pl.DataFrame([column.series(out) for column, out in zip(self._columns, sums, strict=True)])

    def reserve(self, size: int) -> None:
        """Make room for slots below this one."""
        if size > len(self._words):
            # Memory that is not yet touched costs nothing, so there may be much of it.
            capacity = _GROWTH << (size - 1).bit_length()
            self._words = _grown(self._words, self._size, capacity)
            if self._nulls is not None:
                self._nulls = _grown(self._nulls, self._size, capacity)
        self._size = max(self._size, size)


@dataclass(frozen=True)
class _Column:
    """How a column lies in the words of a slot: as 64 bits of the widest dtype of its kind, so without loss."""

    name: str
    dtype: pl.DataType
    first: int

    @property
    def words(self) -> int:
        return 2 if self.dtype.is_decimal() else 1

    @property
    def can_add(self) -> bool:
        """Whether sums of the words are sums of the values."""
        return self.dtype.is_decimal() or self.dtype == self._wide()

    def read(self, block: Block) -> pl.Series:
        # Always a copy: what was read must not change with the slots, and Polars copies no memory that it can use.
        return self.series(np.array(block[:, self.first : self.first + self.words], order="C"))

    def series(self, words: Block) -> pl.Series:
        """Return the series that some words are, which must not change any more."""
        if self.dtype.is_decimal():
            arrow = pl.Series([], dtype=self.dtype).to_arrow().type
            return pl.Series(self.name, pa.Array.from_buffers(arrow, len(words), [None, pa.py_buffer(words)]))
        wide = self._wide()
        series = pl.Series(self.name, words.reshape(-1).view(_NUMPY[wide]))
        if self.dtype == wide:
            return series
        physical = pl.Series([], dtype=self.dtype).to_physical().dtype
        return series.cast(physical).cast(self.dtype)

    def words_of(self, series: pl.Series) -> Block:
        """Return the words of a series, zeros for nulls."""
        if self.dtype.is_decimal():
            array: Any = series.rechunk().to_arrow()
            words = np.frombuffer(array.buffers()[1], np.uint64).reshape(-1, 2)
            return words[array.offset : array.offset + len(array)]
        wide = series.to_physical().cast(self._wide())
        return (wide.fill_null(0) if wide.null_count() else wide).to_numpy().view(np.uint64).reshape(-1, 1)

    def write(self, series: pl.Series, block: Block) -> None:
        block[:, self.first : self.first + self.words] = self.words_of(series)

    def add(self, block: Block, new: Block, out: Block) -> None:
        """Add words to those of the block, and put the sums into `out` too."""
        old = block[:, self.first : self.first + self.words]
        if not self.dtype.is_decimal():
            kind = _NUMPY[self._wide()]
            with np.errstate(invalid="ignore", over="ignore"):
                np.add(old.view(kind), new.view(kind), out=out.view(kind))
        elif max(np.abs(high.view(np.int64)).max() for high in (old[:, 1], new[:, 1])) < _SAFE_HIGH:
            np.add(old, new, out=out)
            out[:, 1] += out[:, 0] < new[:, 0]
        else:
            out[:] = self.words_of(self.series(np.array(old)) + self.series(np.array(new)))
        old[:] = out

    def _wide(self) -> pl.DataType:
        if self.dtype.is_float():
            return pl.Float64()
        return pl.UInt64() if self.dtype == pl.UInt64 else pl.Int64()


_NUMPY: dict[pl.DataType, type[np.generic]] = {
    pl.Float64(): np.float64,
    pl.UInt64(): np.uint64,
    pl.Int64(): np.int64,
}


def _rows(block: Block) -> npt.NDArray[np.void]:
    return block.view(np.dtype((np.void, 8 * block.shape[1]))).reshape(-1)


def _grown(array: Block, size: int, capacity: int) -> Block:
    larger = np.zeros((capacity, *array.shape[1:]), array.dtype)
    larger[:size] = array[:size]
    return larger
