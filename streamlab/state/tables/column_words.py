"""How the values of a column lie in 64-bit words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Block = npt.NDArray[np.uint64]
"""Words of some slots, one row each."""

_SAFE_HIGH = 2**61
"""Upper words of decimals below which the sum of two is in range for certain."""


@dataclass(frozen=True)
class ColumnWords:
    """A column in the words of a slot: 64 bits of the widest dtype of its kind, so without loss; decimals take 128.

    Attributes
    ----------
    name, dtype
        The column.
    first : int
        Its first word.
    """

    name: str
    dtype: pl.DataType
    first: int

    @cached_property
    def span(self) -> slice:
        """Its words in a row."""
        return slice(self.first, self.first + (2 if self._is_decimal else 1))

    @cached_property
    def can_add(self) -> bool:
        """Whether sums of the words are sums of the values."""
        return self._is_decimal or self._is_wide

    def series(self, words: Block) -> pl.Series:
        """Return the series that some words are; they must not change any more, since Polars may not copy them."""
        if self._is_decimal:
            import pyarrow as pa  # noqa: PLC0415 - only decimals need it, and it takes long to import

            arrow = pl.Series([], dtype=self.dtype).to_arrow().type
            # Memory of Arrow's own, which a thread of Polars can give back without waiting for Python.
            own = pa.allocate_buffer(words.nbytes)
            np.frombuffer(own, np.uint64)[:] = words.reshape(-1)
            return pl.Series(self.name, pa.Array.from_buffers(arrow, len(words), [None, own]))
        series = pl.Series(self.name, words.reshape(-1).view(self._kind))
        if self._is_wide:
            return series
        physical = pl.Series([], dtype=self.dtype).to_physical().dtype
        return series.cast(physical).cast(self.dtype)

    def words(self, series: pl.Series) -> Block:
        """Return the words of a series, zeros for nulls."""
        if self._is_decimal:
            array: Any = series.rechunk().to_arrow()
            words = np.frombuffer(array.buffers()[1], np.uint64).reshape(-1, 2)
            return words[array.offset : array.offset + len(array)]
        wide = series if self._is_wide else series.to_physical().cast(self._wide)
        return (wide.fill_null(0) if wide.null_count() else wide).to_numpy().view(np.uint64).reshape(-1, 1)

    def add(self, block: Block, new: Block, out: Block) -> None:
        """Add words to those of the rows of a block, and put the sums into `out` too.

        Raises
        ------
        polars.exceptions.ComputeError
            If a decimal overflows. Integers wrap.
        """
        if not self._is_decimal:
            old = block.view(self._kind)[:, self.span]
            np.add(old, new.view(self._kind), out=out.view(self._kind))
            block[:, self.span] = out
            return
        words = block[:, self.span]
        if max(np.abs(high.view(np.int64)).max() for high in (words[:, 1], new[:, 1])) < _SAFE_HIGH:
            np.add(words, new, out=out)
            out[:, 1] += out[:, 0] < new[:, 0]
        else:
            out[:] = self.words(self.series(words.copy()) + self.series(new.copy()))
        words[:] = out

    @cached_property
    def _is_decimal(self) -> bool:
        return self.dtype.is_decimal()

    @cached_property
    def _is_wide(self) -> bool:
        return self.dtype == self._wide

    @cached_property
    def _wide(self) -> pl.DataType:
        if self.dtype.is_float():
            return pl.Float64()
        return pl.UInt64() if self.dtype == pl.UInt64 else pl.Int64()

    @cached_property
    def _kind(self) -> type[np.generic]:
        return _NUMPY[self._wide]


_NUMPY: dict[pl.DataType, type[np.generic]] = {
    pl.Float64(): np.float64,
    pl.UInt64(): np.uint64,
    pl.Int64(): np.int64,
}
