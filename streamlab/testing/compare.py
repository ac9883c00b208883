"""Comparing results as tables: a multiset of rows, floats up to rounding."""

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

_DIGITS = 6


def assert_same_rows(got: pl.DataFrame, expected: pl.DataFrame, *, rel_tol: float = 1e-9) -> None:
    """Assert that two frames have the same columns and, in any order, the same rows.

    NaN equals NaN, null equals null. Floats may differ by `rel_tol` of their size, since sums depend on their order.

    Examples
    --------
    >>> some = pl.DataFrame({"k": ["b", "a"], "x": [1.0, float("nan")]})
    >>> assert_same_rows(some, some.reverse())
    >>> assert_same_rows(some, some.head(1))
    Traceback (most recent call last):
        ...
    AssertionError: 2 rows, expected 1
    ...
    """
    if dict(got.schema) != dict(expected.schema):
        text = f"columns {dict(got.schema)}, expected {dict(expected.schema)}"
        raise AssertionError(text)
    got, expected = _in_order(got), _in_order(expected.select(got.columns))
    if got.height != expected.height:
        text = f"{got.height} rows, expected {expected.height}\n{_difference(got, expected)}"
        raise AssertionError(text)
    assert_frame_equal(got, expected, rel_tol=rel_tol, abs_tol=rel_tol)


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort by what is exact first, then by floats without their last digits."""
    exact = [name for name, dtype in frame.schema.items() if not dtype.is_float() and not dtype.is_nested()]
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    keys = [pl.col(name) for name in exact] + [pl.col(name).round(_DIGITS) for name in floats]
    return frame.sort(keys, nulls_last=True) if keys else frame


def _difference(got: pl.DataFrame, expected: pl.DataFrame) -> str:
    columns = got.columns
    with pl.Config(tbl_rows=20, tbl_cols=20):
        missing = expected.join(got, on=columns, how="anti", nulls_equal=True)
        surplus = got.join(expected, on=columns, how="anti", nulls_equal=True)
        return f"missing {missing}\ntoo many {surplus}"
