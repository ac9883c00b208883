"""Combining the rows of a batch whose key is a whole number, and whose keys lie close together.

Every number of the range has a place in one array for each partial result, and a row is added to its place: no hashing,
and nothing to compare. That takes a fifth of what grouping by hash does, as long as there are not many more places than
rows. The range says how many; identifiers that were given out one after the other are like that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.operators.group_aggregate.group_plan import GroupPlan
from streamlab.operators.group_aggregate.merging import Reduction, reduction_of

_PLACES_A_ROW = 3
_SMALL_RANGE = 1024
"""Places for which an array costs nothing, however few rows there are."""
_SAFE_SUM = 2**62

_PLACES, _COUNTS = own("places"), own("counts")

_Array = npt.NDArray[Any]
_AT: dict[Reduction | None, Callable[[_Array, _Array, _Array], None]] = {
    "sum": np.add.at,
    "min": np.minimum.at,
    "max": np.maximum.at,
}


class CloseKeys:
    """Combines rows by place.

    Parameters
    ----------
    plan
        What is computed; it must be such that this class :meth:`fits`.
    """

    def __init__(self, plan: GroupPlan) -> None:
        self._plan = plan
        self._key = plan.key_columns[0]
        self._schema = pl.Schema({**plan.key_schema, **plan.partial_schema})
        self._reductions = {merge.meta.output_name(): reduction_of(merge) for merge in plan.split.merge}
        singles = {single.meta.output_name(): single for single in plan.split.single}
        self._constants = {
            name: pl.select(single).to_series()
            for name, single in singles.items()
            if not single.meta.root_names() and self._reductions[name] == "sum"
        }
        """A count of rows adds the same for each row, which need not be made a column."""
        self._counted = {p.meta.output_name(): column for p in plan.split.partial if (column := _column_in(p, _count))}
        """Which column the values are counted of: all rows, if it has no nulls."""
        self._summed = {
            partial.meta.output_name(): pl.col(column).fill_null(0).alias(partial.meta.output_name())
            for partial in plan.split.partial
            if (column := _column_in(partial, _long_sum)) and plan.input_schema[column] == pl.Int64
        }
        """Sums of whole numbers, which are exact in any case, without the detour by 128 bits."""
        self._arrays: dict[str, _Array] = {}
        self._varying = {name: single for name, single in singles.items() if name not in self._constants}

    @staticmethod
    def fits(plan: GroupPlan) -> bool:
        """Return whether keys are whole numbers and partial results are sums and extremes of single rows."""
        if not plan.can_pass or plan.split.ordered or len(plan.keys) != 1:
            return False
        (key,) = plan.key_schema.dtypes()
        wholes = key.is_integer() and key not in {pl.UInt64, pl.Int128, pl.UInt128}
        merges = [(reduction_of(merge), plan.partial_schema[merge.meta.output_name()]) for merge in plan.split.merge]
        return wholes and all(_can(reduction, dtype) for reduction, dtype in merges)

    def singles(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Return the key of each input row and the partial results of it alone, but for those that are constant."""
        # The streaming engine would give them in pieces, which NumPy has to put together.
        passed = self._plan.passed(rows).collect(engine="in-memory")
        if not self._plan.passes_rows:
            return passed.select(self._key, *self._varying)
        whole = {name for name, column in self._counted.items() if not passed.get_column(column).null_count()}
        varying = [self._summed.get(name, single) for name, single in self._varying.items() if name not in whole]
        return passed.select(self._key, *varying)

    def grouped(self, singles: pl.DataFrame) -> pl.DataFrame:
        """Return the partial results of each key as Polars groups them."""
        constants = [pl.lit(value.item(), value.dtype).alias(name) for name, value in self._constants.items()]
        whole = [pl.lit(1, pl.Int64).alias(name) for name in self._counted if name not in singles.columns]
        sums = [pl.col(name).cast(self._schema[name]) for name in self._summed]
        merged = singles.with_columns(*constants, *whole, *sums).group_by(self._key).agg(*self._plan.split.merge)
        return merged.select(self._schema.names())

    def combined(self, singles: pl.DataFrame) -> pl.DataFrame | None:
        """Return the partial results of each key, by rising key; None where this is not the way.

        That is where keys lie far apart or are null, or a value is one that NumPy treats in another way than Polars.
        """
        keys = singles.get_column(self._key)
        if keys.null_count() or not singles.height:
            return None
        numbers = keys.cast(pl.Int64).to_numpy()
        first, last = int(numbers.min()), int(numbers.max())
        size = last - first + 1
        if size > max(_SMALL_RANGE, _PLACES_A_ROW * singles.height):
            return None
        places = self._space(_PLACES, singles.height, np.dtype(np.int64))
        np.subtract(numbers, first, out=places)
        counts = self._space(_COUNTS, size, np.dtype(np.int64), 0)
        np.add.at(counts, places, 1)
        results: dict[str, _Array] = {name: _of_all(counts, value.item()) for name, value in self._constants.items()}
        for name in self._varying:
            reduced = counts if name not in singles.columns else self._reduced(singles[name], places, counts)
            if reduced is None:
                return None
            results[name] = reduced
        return self._frame(first, results, counts > 0)

    def _frame(self, first: int, results: dict[str, _Array], is_held: _Array) -> pl.DataFrame:
        """Return the keys that are there and their results, in memory that does not change with the next batch."""
        if is_held.all():
            columns = {name: values.copy() for name, values in results.items()}
            held = np.arange(len(is_held))
        else:
            held = np.flatnonzero(is_held)
            # Several results can be one array: a count of rows, and of values of which none is null.
            taken = {id(values): values[held] for values in results.values()}
            columns = {name: taken[id(values)] for name, values in results.items()}
        held += first
        columns[self._key] = held
        return pl.DataFrame({name: pl.Series(columns[name]).cast(dtype) for name, dtype in self._schema.items()})

    def _reduced(self, values: pl.Series, places: _Array, counts: _Array) -> _Array | None:
        how = self._reductions[values.name]
        if values.dtype.is_decimal():
            values = values.cast(pl.Int64, strict=False)
        elif values.dtype.is_temporal():
            values = values.to_physical()
        if values.null_count():
            return None
        array = values.to_numpy()
        if how == "sum" and array.dtype.kind != "f":
            least, most = int(array.min()), int(array.max())
            if max(-least, most) * len(array) >= _SAFE_SUM:
                return None
            if least == most:
                return _of_all(counts, least)
        if how != "sum" and array.dtype.kind == "f" and np.isnan(array).any():
            return None
        # Each extreme begins with the other one of all rows.
        begin = 0 if how == "sum" else array.max() if how == "min" else array.min()
        reduced = self._space(values.name, len(counts), array.dtype, begin)
        with np.errstate(invalid="ignore", over="ignore"):
            _AT[how](reduced, places, array)
        return reduced

    def _space(self, name: str, size: int, dtype: np.dtype[Any], begin: object = None) -> _Array:
        """Return an array that is kept from batch to batch: memory that is new each time costs more than the work."""
        known = self._arrays.get(name)
        if known is None or len(known) < size:
            known = self._arrays[name] = np.empty(size, dtype)
        space = known[:size]
        if begin is not None:
            space.fill(begin)
        return space


def _of_all(counts: _Array, value: int) -> _Array:
    """Return the sum of a value that all rows have."""
    return counts if value == 1 else counts * value


def _count(column: pl.Expr) -> pl.Expr:
    return column.count().cast(pl.Int64)


def _long_sum(column: pl.Expr) -> pl.Expr:
    return column.cast(pl.Int128, strict=False).sum().cast(pl.Decimal(38, 0))


def _column_in(partial: pl.Expr, form: Callable[[pl.Expr], pl.Expr]) -> str | None:
    """Return the one column that a partial result is this form of; None if it is another expression."""
    roots = partial.meta.root_names()
    if len(roots) != 1:
        return None
    return roots[0] if partial.meta.undo_aliases().meta.eq(form(pl.col(roots[0]))) else None


def _can(reduction: Reduction | None, dtype: pl.DataType) -> bool:
    if reduction == "sum":
        return dtype in {pl.Int64, pl.Float64} or (dtype.is_decimal() and getattr(dtype, "scale", None) == 0)
    is_plain = dtype.is_integer() and dtype not in {pl.Int128, pl.UInt128}
    return reduction is not None and (is_plain or dtype == pl.Float64 or dtype.is_temporal())
