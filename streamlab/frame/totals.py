"""The methods of a StreamFrame that aggregate every column: one row, which is kept up to date while rows come."""

from __future__ import annotations

from typing import Self

import polars as pl

from streamlab.frame.steps import StepMethods


class TotalMethods(StepMethods):
    """``sum`` and its like; they raise PlanError when a column has a dtype that Polars does not aggregate so."""

    __slots__ = ()

    def sum(self) -> Self:
        """Sum every column, in one row that is kept up to date.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"n": [1, 2], "x": [0.5, None]})).sum().collect().rows()
        [(3, 0.5)]
        """
        return self._select("sum", (pl.all().sum(),), {})

    def mean(self) -> Self:
        """Average every column, in one row that is kept up to date."""
        return self._select("mean", (pl.all().mean(),), {})

    def min(self) -> Self:
        """Take the smallest value of every column, in one row that is kept up to date."""
        return self._select("min", (pl.all().min(),), {})

    def max(self) -> Self:
        """Take the largest value of every column, in one row that is kept up to date."""
        return self._select("max", (pl.all().max(),), {})

    def std(self, ddof: int = 1) -> Self:
        """Take the standard deviation of every column, in one row that is kept up to date.

        Parameters
        ----------
        ddof
            What the sum of squares is divided by: the number of values less this.
        """
        return self._select("std", (pl.all().std(ddof),), {})

    def var(self, ddof: int = 1) -> Self:
        """Take the variance of every column, in one row that is kept up to date.

        Parameters
        ----------
        ddof
            As for :meth:`std`.
        """
        return self._select("var", (pl.all().var(ddof),), {})

    def count(self) -> Self:
        """Count the values of every column that are not null, in one row that is kept up to date."""
        return self._select("count", (pl.all().count(),), {})

    def null_count(self) -> Self:
        """Count the nulls of every column, in one row that is kept up to date."""
        return self._select("null_count", (pl.all().null_count(),), {})
