"""How one ``agg(...)`` is computed in parts: the value that the planner makes and the operators run."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

_OVERFLOW = re.compile(r'\["(?P<said>.+? overflows [^:"]+: cast its input to a wider dtype first)"', re.DOTALL)


_POLARS_SAYS = re.compile(
    r"overflow in decimal (?P<what>[a-z]+)|decimal precision (?P<digits>\d+) can't fit values with \d+ digits"
)
"""What Polars itself says, in an error or a panic, of a decimal that has grown too long."""


def overflow_text(aggregate: str, dtype: pl.DataType) -> str:
    """Return what an aggregate says that has grown out of its dtype.

    An expression of Polars can only fail in a cast, so this text is cast to a number to make it fail.
    """
    return f"{aggregate} overflows {dtype}: cast its input to a wider dtype first"


def overflow_in(error: BaseException) -> str | None:
    """Return that text, or what Polars says of decimals in the same words, if it is why an expression failed.

    >>> failed = ValueError(f'conversion failed in column 1: ["{overflow_text("sum", pl.Int64())}"]')
    >>> overflow_in(failed)
    'sum overflows Int64: cast its input to a wider dtype first'
    >>> overflow_in(ValueError("decimal precision 38 can't fit values with 39 digits while constructing Series 'n'"))
    'a sum of decimals overflows Decimal(precision=38): cast its input to a wider dtype first'
    """
    found = _OVERFLOW.search(str(error))
    if found:
        return found["said"]
    by_polars = _POLARS_SAYS.search(str(error))
    if by_polars is None:
        return None
    is_sum = by_polars["what"] in {None, "addition", "subtraction"}
    made = "a sum" if is_sum else f"a {by_polars['what']}"
    hint = "cast its input to a wider dtype first"
    return f"{made} of decimals overflows Decimal(precision={by_polars['digits'] or 38}): {hint}"


@dataclass(frozen=True)
class AggregateReport:
    """What ``explain()`` says about one result column."""

    name: str
    incremental: bool
    reason: str = ""


@dataclass(frozen=True)
class AggregateSplit:
    """The user's aggregations, split so that partial results can be merged in any grouping of the input.

    With ``g`` for ``group_by(keys)`` and rows cut in any way into frames ``a`` and ``b``::

        user     = (a + b).g.agg(user)
        partials = a.g.agg(partial) + b.g.agg(partial)
        user     = partials.g.agg(merge).select(keys, final)          # merge may be repeated

    When `buffered` is not empty some aggregation cannot be merged: then rows are kept instead of partials
    (`partial` and `merge` are empty), and when a window fires ``rows.g.agg(buffered)`` gives *all* result columns.

    Attributes
    ----------
    partial : tuple[pl.Expr, ...]
        Over input rows, in a group_by; named ``__sl_p0``, ``__sl_p1``, …
    merge : tuple[pl.Expr, ...]
        Over the columns of `partial`, in a group_by; keeps the names.
    final : tuple[pl.Expr, ...]
        Over the merged columns, row-wise; named as the user named them.
    buffered : tuple[pl.Expr, ...]
        The user's own expressions, when they run over the kept rows.
    columns : tuple[str, ...]
        Input columns that the aggregations read.
    ordered : bool
        Whether a result depends on row order (``first``, ``last``): frames must be merged in order of arrival.
    reports : tuple[AggregateReport, ...]
        One for each result column.
    single : tuple[pl.Expr, ...]
        `partial` of a row on its own, row-wise; empty when there is no such form.
    """

    partial: tuple[pl.Expr, ...]
    merge: tuple[pl.Expr, ...]
    final: tuple[pl.Expr, ...]
    buffered: tuple[pl.Expr, ...]
    columns: tuple[str, ...]
    ordered: bool
    reports: tuple[AggregateReport, ...]
    single: tuple[pl.Expr, ...] = ()

    @property
    def is_incremental(self) -> bool:
        """Whether partial results are kept instead of rows."""
        return not self.buffered
