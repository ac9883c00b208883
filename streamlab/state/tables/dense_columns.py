"""Fixed-width columns by slot number, read and written a batch of slots at a time.

The values of a slot lie side by side in one row of 64-bit words (decimals take two), so that a slot costs one miss of
the processor's caches and not one for each column: with millions of slots that is what the time goes to. Reading and
writing cost the same whatever the number of slots behind them but for those misses. Nulls are bits of one more word for
each slot, kept from the first null on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.state.tables.column_words import Block, ColumnWords
from streamlab.state.tables.hash_table import Slots

_FIRST_CAPACITY = 1024
_GROWTH = 2
_MOST_COLUMNS = 64
"""Null bits in a word."""

_LINE_WORDS = 8
"""Words in a line of the processor's caches."""

_PART_ROWS = 4096
"""Rows of a part: so few that what was touched is still in the processor's caches when the next column touches it."""


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
        self._columns: list[ColumnWords] = []
        width = 0
        for name, dtype in schema.items():
            self._columns.append(ColumnWords(name, dtype, width))
            width = self._columns[-1].span.stop
        # One word to spare makes rows that never lie across two lines of the caches.
        width += width > 1 and width & (width + 1) == 0
        self._words: Block = _zeros(_FIRST_CAPACITY, width)
        self._size = 0
        self._nulls: npt.NDArray[np.uint64] | None = None

    @property
    def size_bytes(self) -> int:
        """Memory of the slots that are reserved."""
        return 8 * self._size * (int(self._words.shape[1]) + (self._nulls is not None))

    def read(self, slots: Slots | slice) -> pl.DataFrame:
        """Return a row for each slot; zeros for those that were never written. All must be reserved."""
        # Always a copy: what was read must not change with the slots.
        if isinstance(slots, slice):
            words = [self._words[slots, column.span].copy() for column in self._columns]
        else:
            words = self._space(len(slots))
            for part in _parts(len(slots)):
                block = self._words.take(slots[part], axis=0)
                for column, out in zip(self._columns, words, strict=True):
                    out[part] = block[:, column.span]
        frame = self._frame(words)
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
        words = [column.words(series) for column, series in zip(self._columns, own, strict=True)]
        span = self._words[first : last + 1] if last - first < len(slots) else None
        rows = _rows(self._words)
        for part in _parts(len(slots)):
            chosen = slots[part]
            block = np.empty((len(chosen), self._words.shape[1]), np.uint64) if span is None else span[part]
            for column, new in zip(self._columns, words, strict=True):
                block[:, column.span] = new[part]
            if span is None:
                rows[chosen] = _rows(block)
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
        """Add values to the rows of some slots, each given once, and return the rows as they are now.

        Raises
        ------
        polars.exceptions.ComputeError
            If a decimal overflows. Integers wrap.
        """
        added = [column.words(values.get_column(column.name)) for column in self._columns]
        sums = self._space(len(slots))
        rows = _rows(self._words)
        with np.errstate(invalid="ignore", over="ignore"):
            for part in _parts(len(slots)):
                chosen = slots[part]
                block = self._words.take(chosen, axis=0)
                for column, new, out in zip(self._columns, added, sums, strict=True):
                    column.add(block, new[part], out[part])
                rows[chosen] = _rows(block)
        return self._frame(sums)

    def _space(self, rows: int) -> list[Block]:
        return [np.empty((rows, column.span.stop - column.span.start), np.uint64) for column in self._columns]

    def _frame(self, words: list[Block]) -> pl.DataFrame:
        return pl.DataFrame([column.series(own) for column, own in zip(self._columns, words, strict=True)])

    def reserve(self, size: int) -> None:
        """Make room for slots below this one."""
        if size > len(self._words):
            # Memory that is not yet touched costs nothing, so there may be much of it.
            capacity = _GROWTH << (size - 1).bit_length()
            words, self._words = self._words, _zeros(capacity, self._words.shape[1])
            self._words[: self._size] = words[: self._size]
            if self._nulls is not None:
                nulls, self._nulls = self._nulls, np.zeros(capacity, np.uint64)
                self._nulls[: self._size] = nulls[: self._size]
        self._size = max(self._size, size)


def _parts(rows: int) -> Iterator[slice]:
    return (slice(at, at + _PART_ROWS) for at in range(0, rows, _PART_ROWS))


def _rows(block: Block) -> npt.NDArray[np.void]:
    # As one opaque value a row: NumPy copies that in one go, and a row of words word by word.
    return block.view(np.dtype((np.void, 8 * block.shape[1]))).reshape(-1)


def _zeros(rows: int, width: int) -> Block:
    """Return memory that begins with a line of the caches and that nobody has touched yet."""
    memory = np.zeros(rows * width + _LINE_WORDS, np.uint64)
    first = -memory.ctypes.data // memory.itemsize % _LINE_WORDS
    return memory[first : first + rows * width].reshape(rows, width)
