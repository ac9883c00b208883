"""How each aggregation that can be merged is taken apart: its state, how states merge, and what comes out of them.

For every function here the law is: for rows cut in any way, the states of the pieces merge, in any grouping, to the
state of all rows. Rules that hold throughout:

- Integers never wrap. Narrow ones are summed in 64 bits, 64-bit ones in 128 (which costs the streaming engine about a
  tenth more than a plain sum), and what does not fit the dtype that Polars gives is an error, at the end. Products and
  128-bit sums, for which there is nothing wider, are compared with the same in Float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller

import polars as pl

from streamlab.core.aggregation import overflow_text
from streamlab.plan.expressions.states import States

_WIDE = pl.Decimal(38, 0)
"""Holds sums of 64-bit integers. Not Int128: Arrow has none, and state must be readable elsewhere."""

_DECIMAL_DIGITS = 38

_NARROW = frozenset((pl.Int8, pl.Int16, pl.UInt8, pl.UInt16))
"""Polars sums these in Int64, which would take more than 10¹⁴ rows to overflow."""

_WIDENED = frozenset((pl.Int64, pl.UInt64))

_BOUNDS: dict[type[pl.DataType], tuple[int, int]] = {
    pl.Int32: (-(2**31), 2**31 - 1),
    pl.Int64: (-(2**63), 2**63 - 1),
    pl.UInt32: (0, 2**32 - 1),
    pl.UInt64: (0, 2**64 - 1),
}


class NotMergeable(ValueError):
    """The aggregation has no state that merges; the message completes "<aggregation> …"."""


@dataclass(frozen=True)
class Rows:
    """What an aggregation reads, in a group.

    Attributes
    ----------
    kept : pl.Expr
        The values that count.
    condition : pl.Expr | None
        Over all rows: which ones are in `kept`; None for all.
    dtype : pl.DataType
        Of the values.
    by : pl.Expr | None
        The second input of ``min_by`` and ``max_by``, of the same length as `kept`.
    event_time : pl.Expr | None
        What "first" and "last" go by; None for order of arrival.
    never_empty : bool
        Whether every group has at least one value that counts.
    """

    kept: pl.Expr
    condition: pl.Expr | None
    dtype: pl.DataType
    by: pl.Expr | None
    event_time: pl.Expr | None
    never_empty: bool


@dataclass(frozen=True)
class Wanted:
    """The aggregation itself: its name for messages, the dtype that Polars gives it, and its options."""

    name: str
    dtype: pl.DataType
    ddof: int = 1


Taker = Callable[[States, Rows, Wanted], pl.Expr]
"""Adds the states of an aggregation and returns the result as an expression over their merged columns."""


SUMMED = methodcaller("sum")
"""Merges states by adding them."""

_MULTIPLIED = methodcaller("product")


def length(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Count the rows."""
    return length_state(states, rows).cast(wanted.dtype)


def length_state(states: States, rows: Rows) -> pl.Expr:
    """Return the state that counts rows, Int64."""
    partial = pl.len() if rows.condition is None else rows.condition.sum()
    return states.add(partial.cast(pl.Int64), SUMMED)


def count(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Count the values that are not null."""
    return _count(states, rows).cast(wanted.dtype)


def _count(states: States, rows: Rows) -> pl.Expr:
    return states.add(rows.kept.count().cast(pl.Int64), SUMMED)


def null_count(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Count the nulls."""
    return states.add(rows.kept.is_null().sum().cast(pl.Int64), SUMMED).cast(wanted.dtype)


def total(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Sum the values that are not null; 0 of none."""
    dtype = rows.dtype
    if dtype.is_temporal() and dtype != pl.Duration:
        msg = f"of {dtype}"
        raise NotMergeable(msg)
    if dtype.is_decimal() or dtype in {pl.Int128, pl.UInt128}:
        return _guarded_total(states, rows, wanted)
    column = _sum(states, rows.kept, dtype)
    result = pl.Int64() if dtype == pl.Duration else wanted.dtype
    if not result.is_integer() or dtype in _NARROW:
        return column.cast(result)
    low, high = _BOUNDS[type(result)]
    held = _WIDE if dtype in _WIDENED or dtype == pl.Duration else pl.Int64()
    fits = column.is_between(pl.lit(low, pl.Int128).cast(held), pl.lit(high, pl.Int128).cast(held))
    return _checked(column.cast(result, strict=False), fits, wanted)


def _sum(states: States, values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the sum in a dtype that does not overflow: Int64, Decimal(38, 0) or Float64."""
    if dtype in _WIDENED or dtype.is_temporal():
        whole = values.to_physical() if dtype.is_temporal() else values
        partial = whole.cast(pl.Int128, strict=False).sum().cast(_WIDE)
    elif dtype in {pl.Int32, pl.UInt32, pl.Boolean}:
        partial = values.cast(pl.Int64, strict=False).sum()
    elif dtype in _NARROW or dtype == pl.Float64:
        partial = values.sum()
    elif dtype.is_numeric():
        partial = values.cast(pl.Float64, strict=False).sum()
    else:
        msg = f"of {dtype}"
        raise NotMergeable(msg)
    return states.add(partial, SUMMED)


def _guarded_total(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    column = states.add(rows.kept.sum(), SUMMED)
    about = states.add(rows.kept.cast(pl.Float64, strict=False).sum(), SUMMED)
    scale = wanted.dtype.scale if isinstance(wanted.dtype, pl.Decimal) else 0
    limit = 10.0 ** (_DECIMAL_DIGITS - scale) if wanted.dtype.is_decimal() else 2.0**128
    fits = (about.abs() < limit) & ((about - column.cast(pl.Float64)).abs() < limit / 4)
    return _checked(column, fits, wanted)


def _checked(column: pl.Expr, fits: pl.Expr, wanted: Wanted) -> pl.Expr:
    """Return the column, in an expression that fails where it does not fit its dtype.

    Only a cast can fail in an expression, so a text that says what is wrong is cast to a number.
    """
    text = pl.lit(overflow_text(wanted.name, wanted.dtype))
    failing = pl.when(~fits).then(text).cast(pl.Int64).cast(wanted.dtype)
    return pl.when(fits).then(column.cast(wanted.dtype)).otherwise(failing)


def mean(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Average the values that are not null; null of none. Temporal means are exact to the unit, cut towards zero."""
    n = _count(states, rows)
    if rows.dtype.is_temporal():
        column = _sum(states, rows.kept.cast(wanted.dtype), wanted.dtype)
        quotient = column.cast(pl.Int128).truncdiv(n.cast(pl.Int128)).cast(pl.Int64)
    else:
        quotient = _sum(states, rows.kept, rows.dtype).cast(pl.Float64) / n
    return pl.when(n > 0).then(quotient).cast(wanted.dtype)


def variance(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Return the variance by count, mean and sum of squared deviations.

    Merged as by T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (1979), for any number of pieces at once.
    """
    if not rows.dtype.is_numeric() and rows.dtype != pl.Boolean:
        msg = f"of {rows.dtype}"
        raise NotMergeable(msg)
    values = rows.kept.cast(pl.Float64, strict=False)
    n = _count(states, rows)
    centre = states.add(values.mean(), _merged_mean, n)
    deviations = states.add(values.var(ddof=0) * rows.kept.count(), _merged_deviations, n, centre)
    return pl.when(n > wanted.ddof).then(deviations / (n - wanted.ddof)).cast(wanted.dtype)


def deviation(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Return the standard deviation: the root of the variance."""
    return variance(states, rows, wanted).sqrt().cast(wanted.dtype)


def _merged_mean(centre: pl.Expr, n: pl.Expr) -> pl.Expr:
    # Relative to one of the means: the mean of the means would lose the digits in which they differ.
    origin = centre.min()
    return origin + ((centre - origin) * n).sum() / n.sum()


def _merged_deviations(deviations: pl.Expr, n: pl.Expr, centre: pl.Expr) -> pl.Expr:
    return deviations.sum() + ((centre - _merged_mean(centre, n)).pow(2) * n).sum()


def product(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Multiply the values that are not null; 1 of none."""
    if not (rows.dtype.is_numeric() or rows.dtype == pl.Boolean) or wanted.dtype not in {
        *(pl.Int64, pl.UInt64),
        *(pl.Float64, pl.Float32, pl.Float16),
    }:
        msg = f"of {rows.dtype}"
        raise NotMergeable(msg)
    about = states.add(rows.kept.cast(pl.Float64, strict=False).product(), _MULTIPLIED)
    if wanted.dtype.is_float():
        return about.cast(wanted.dtype)
    column = states.add(rows.kept.cast(wanted.dtype).product(), _MULTIPLIED)
    # Wrapping is off by a multiple of 2⁶⁴, at least as much as the product itself. NaN: infinity times zero.
    fits = ((about - column.cast(pl.Float64)).abs() <= 0.5 * about.abs()) | about.is_nan()
    return _checked(column, fits, wanted)


def repeated(method: str, **options: bool) -> Taker:
    """Return the taker of an aggregation that skips nulls, and that merges by being run again over its own results."""

    def take(states: States, rows: Rows, _: Wanted) -> pl.Expr:
        again = methodcaller(method, **options)
        return states.add(again(rows.kept), again)

    return take


def extreme(method: str) -> Taker:
    """Return the taker of ``min``, ``max``, ``nan_min`` or ``nan_max``: for dtypes that have an order."""

    def take(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
        if rows.dtype.is_nested() or rows.dtype == pl.Null:
            msg = f"of {rows.dtype}"
            raise NotMergeable(msg)
        return repeated(method)(states, rows, wanted)

    return take


def bitwise(method: str) -> Taker:
    """Return the taker of ``bitwise_and`` and its like, for integers; of no Booleans Polars makes a value, not null."""

    def take(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
        if not rows.dtype.is_integer():
            msg = f"of {rows.dtype}"
            raise NotMergeable(msg)
        return repeated(method)(states, rows, wanted)

    return take


def kleene(method: str) -> Taker:
    """Return the taker of ``any`` or ``all`` where null means "unknown" (Kleene), and so is not skipped."""

    def take(states: States, rows: Rows, _: Wanted) -> pl.Expr:
        again = methodcaller(method, ignore_nulls=False)
        return states.add(again(rows.kept), again)

    return take


def has_nulls(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """Return whether any value is null."""
    return states.add(rows.kept.is_null().any(), methodcaller("any"))
