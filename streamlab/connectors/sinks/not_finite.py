"""NaN and infinity, for which some targets have no word: they write null instead, and count it."""

from __future__ import annotations

import polars as pl


def count_not_finite(frame: pl.DataFrame, *, infinities: bool) -> int:
    """Return how many values of a frame, at any depth, are NaN, or infinite where that counts.

    >>> nan, inf = float("nan"), float("inf")
    >>> rows = pl.DataFrame({"x": [nan, inf, None], "y": [[1.0, nan], [-inf], None], "n": [1, 2, 3]})
    >>> count_not_finite(rows, infinities=True), count_not_finite(rows, infinities=False)
    (4, 2)
    """
    return sum(_count(column, infinities=infinities) for column in frame.get_columns())


def _count(column: pl.Series, *, infinities: bool) -> int:
    dtype = column.dtype
    if dtype.is_float():
        found = ~column.is_finite() if infinities else column.is_nan()
        return int(found.sum())
    if isinstance(dtype, pl.Struct):
        return count_not_finite(column.struct.unnest(), infinities=infinities)
    if isinstance(dtype, pl.List | pl.Array):
        return _count(column.explode(), infinities=infinities) if _has_floats(dtype) else 0
    return 0


def _has_floats(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _has_floats(pl.Schema({"inner": dtype.inner})["inner"])
    if isinstance(dtype, pl.Struct):
        return any(map(_has_floats, pl.Schema(dtype.to_schema()).values()))
    return dtype.is_float()
