"""How each aggregation that can be merged is taken apart: its state, how states merge, and what comes out of them.

For every function here the law is: for rows cut in any way, the states of the pieces merge, in any grouping, to the
state of all rows. Rules that hold throughout:

- Integers never wrap. Narrow ones are summed in 64 bits, 64-bit ones in 128 (which costs the streaming engine about a
  tenth more than a plain sum), and the last cast, to the dtype that Polars gives, is strict, so that a sum that does
  not fit is an error that shows the value.
- A condition (``filter`` inside the aggregation) becomes nulls where nulls don't count; that keeps the aggregation one
  that the streaming engine runs natively.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from streamlab.plan.expressions.states import States

_WIDE = pl.Decimal(38, 0)
"""Holds sums of 64-bit integers. Not Int128: Arrow has none, and state must be readable elsewhere."""


class NotMergeable(ValueError):
    """The aggregation has no state that merges, for a reason that the message gives."""


@dataclass(frozen=True)
class Rows:
    """What an aggregation reads, in a group.

    Attributes
    ----------
    value : pl.Expr
        Row-wise, from all rows of the group.
    dtype : pl.DataType
        Of `value`.
    condition : pl.Expr | None
        Which rows count; None for all.
    event_time : pl.Expr | None
        What "first" and "last" go by; None for order of arrival.
    grouped : bool
        Whether there are keys, so that a group has at least one row.
    """

    value: pl.Expr
    dtype: pl.DataType
    condition: pl.Expr | None
    event_time: pl.Expr | None
    grouped: bool

    @property
    def kept(self) -> pl.Expr:
        """The values that count, fewer than the rows when there is a condition."""
        return self.value if self.condition is None else self.value.filter(self.condition)

    @property
    def nulled(self) -> pl.Expr:
        """One value a row, null where it does not count."""
        return self.value if self.condition is None else pl.when(self.condition).then(self.value)


@dataclass(frozen=True)
class Wanted:
    """The aggregation itself: what Polars calls it, its options, and the dtype that Polars gives it."""

    dtype: pl.DataType
    ddof: int = 1
    ignore_nulls: bool = True
    include_nulls: bool = False


def summed(column: pl.Expr) -> pl.Expr:
    """Merge states by adding them."""
    return column.sum()


def length(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Count the rows."""
    partial = pl.len() if rows.condition is None else rows.condition.sum()
    return states.add(partial.cast(pl.Int64), summed).cast(wanted.dtype)


def _count_state(states: States, rows: Rows) -> pl.Expr:
    return states.add(rows.nulled.count().cast(pl.Int64), summed)


def count(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Count the values that are not null, or all of them (``Expr.len``)."""
    return length(states, rows, wanted) if wanted.include_nulls else _count_state(states, rows).cast(wanted.dtype)


def _sum_state(states: States, values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the sum in a dtype that does not overflow: Int64, Decimal(38, …) or Float64."""
    if dtype in {pl.Int64, pl.UInt64} or dtype.is_temporal():
        whole = values.to_physical() if dtype.is_temporal() else values
        partial = whole.cast(pl.Int128, strict=False).sum().cast(_WIDE)
    elif dtype in {pl.Int32, pl.UInt32, pl.Boolean}:
        partial = values.cast(pl.Int64, strict=False).sum()
    elif dtype in {pl.Int8, pl.Int16, pl.UInt8, pl.UInt16, pl.Float64}:
        partial = values.sum()
    elif dtype in {pl.Float32, pl.Float16}:
        partial = values.cast(pl.Float64, strict=False).sum()
    else:
        msg = f"of {dtype}"
        raise NotMergeable(msg)
    return states.add(partial, summed)


def total(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Sum the values that are not null; 0 of none."""
    if rows.dtype.is_temporal() and rows.dtype != pl.Duration:
        msg = f"of {rows.dtype}"
        raise NotMergeable(msg)
    column = _sum_state(states, rows.nulled, rows.dtype)
    if rows.dtype == pl.Duration:
        column = column.cast(pl.Int64)
    return column.cast(wanted.dtype)


def mean(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Average the values that are not null; null of none. Temporal means are exact to the unit, cut towards zero."""
    n = _count_state(states, rows)
    if rows.dtype.is_temporal():
        values = rows.nulled.cast(wanted.dtype)
        column = _sum_state(states, values, wanted.dtype)
        quotient = column.cast(pl.Int128).truncdiv(n.cast(pl.Int128)).cast(pl.Int64)
    else:
        column = _sum_state(states, rows.nulled, rows.dtype)
        quotient = column.cast(pl.Float64) / n
    return pl.when(n > 0).then(quotient).cast(wanted.dtype)


def _min(column: pl.Expr) -> pl.Expr:
    return column.min()


def _max(column: pl.Expr) -> pl.Expr:
    return column.max()


def smallest(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Find the smallest value that is neither null nor NaN."""
    _check_ordered(rows.dtype)
    return states.add(rows.nulled.min(), _min)


def largest(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Find the largest value that is neither null nor NaN."""
    _check_ordered(rows.dtype)
    return states.add(rows.nulled.max(), _max)


def _check_ordered(dtype: pl.DataType) -> None:
    if dtype.is_nested() or dtype == pl.Null:
        msg = f"of {dtype}"
        raise NotMergeable(msg)


Taker = Callable[[States, Rows, Wanted], pl.Expr]
