"""The methods of a StreamFrame that aggregate every column: one row, which is kept up to date while rows come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import polars as pl

from streamlab.core.errors import PlanError
from streamlab.frame.steps import StepMethods
from streamlab.plan.schema import check_each


class TotalMethods(StepMethods):
    """``sum`` and its like; they raise PlanError when a column has a dtype that Polars does not aggregate so."""

    __slots__ = ()

    def _every(self, name: str, aggregate: Callable[[pl.Expr], pl.Expr]) -> Self:
        try:
            return self._select(name, (aggregate(pl.all()),), {})
        except PlanError as error:
            check_each(name, "select", self._plan.schema, aggregate)
            raise error from None

    def sum(self) -> Self:
        """Sum every column, in one row that is kept up to date.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"n": [1, 2], "x": [0.5, None]})).sum().collect().rows()
        [(3, 0.5)]
        """
        return self._every("sum", pl.Expr.sum)

    def mean(self) -> Self:
        """Average every column, in one row that is kept up to date."""
        return self._every("mean", pl.Expr.mean)

    def min(self) -> Self:
        """Take the smallest value of every column, in one row that is kept up to date."""
        return self._every("min", pl.Expr.min)

    def max(self) -> Self:
        """Take the largest value of every column, in one row that is kept up to date."""
        return self._every("max", pl.Expr.max)

    def std(self, ddof: int = 1) -> Self:
        """Take the standard deviation of every column, in one row that is kept up to date.

        Parameters
        ----------
        ddof
            What the sum of squares is divided by: the number of values less this.
        """
        return self._every("std", lambda every: every.std(ddof))

    def var(self, ddof: int = 1) -> Self:
        """Take the variance of every column, in one row that is kept up to date.

        Parameters
        ----------
        ddof
            As for :meth:`std`.
        """
        return self._every("var", lambda every: every.var(ddof))

    def count(self) -> Self:
        """Count the values of every column that are not null, in one row that is kept up to date."""
        return self._every("count", pl.Expr.count)

    def null_count(self) -> Self:
        """Count the nulls of every column, in one row that is kept up to date."""
        return self._every("null_count", pl.Expr.null_count)
