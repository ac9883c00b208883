"""Merging the partial results of a batch with those of the state.

The two sides have one row for each key in the same order, so a merge that is a plain sum, minimum or maximum is
computed column by column. With millions of keys that is many times faster than grouping pairs of rows, which is what
all other merges are given to.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from streamlab.operators.group_aggregate.group_plan import ROWS, GroupPlan
from streamlab.state.tables.hash_table import Slots
from streamlab.state.tables.slot_runs import SLOT

Reduction = Literal["sum", "min", "max"]


class PairMerge:
    """Merges rows of partial results.

    Parameters
    ----------
    plan
        The aggregation.
    """

    def __init__(self, plan: GroupPlan) -> None:
        self._keys = plan.key_columns
        self._values = list(plan.partial_schema)
        self._grouped = [pl.col(ROWS).sum()] * plan.updating + list(plan.split.merge)
        pairs = [_columnwise(merge) for merge in self._grouped]
        self._pairs = [pair for pair in pairs if pair is not None]
        self._is_columnwise = len(self._pairs) == len(pairs)
        self.adds = all(reduction_of(merge) == "sum" for merge in self._grouped)
        """Whether every merge is a sum of one column."""

    def pairs(self, old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        """Return the merge of each row of `new` with the row of `old` beside it, which is earlier and has no keys."""
        if not new.height:
            return new
        if self._is_columnwise:
            beside = pl.concat([new, old.rename(_of_old)], how="horizontal")
            return beside.select(*self._keys, *self._pairs)
        number = np.arange(new.height)
        both = pl.concat([old, new[old.columns]])
        return new[self._keys].hstack(self._grouped_by(np.concatenate((number, number)), both))

    def repeats(self, partials: pl.DataFrame, slots: Slots) -> pl.DataFrame:
        """Return the partial results, without keys, with rows of equal slot merged; such rows stand side by side."""
        values = [partials.get_column(name) for name in self._values]
        if not self.adds or any(column.null_count() or column.dtype.is_decimal() for column in values):
            return self._grouped_by(slots, partials)
        first = np.flatnonzero(np.concatenate(([True], slots[1:] != slots[:-1])))
        with np.errstate(invalid="ignore", over="ignore"):
            return pl.DataFrame(
                [pl.Series(one.name, np.add.reduceat(one.to_numpy(), first), one.dtype) for one in values]
            )

    def _grouped_by(self, slots: Slots, partials: pl.DataFrame) -> pl.DataFrame:
        """Return the partial results, without keys, with rows of equal slot merged, in order of first appearance."""
        numbered = partials.hstack([pl.Series(SLOT, slots)])
        return numbered.group_by(SLOT, maintain_order=True).agg(*self._grouped)[self._values]


def _of_old(name: str) -> str:
    return f"{name}_old"


def reduction_of(merge: pl.Expr) -> Reduction | None:
    """Return what a merge does to its column, if it is that of one column alone."""
    column, plain = pl.col(merge.meta.output_name()), merge.meta.undo_aliases().meta
    known: dict[Reduction, pl.Expr] = {"sum": column.sum(), "min": column.min(), "max": column.max()}
    return next((name for name, expression in known.items() if plain.eq(expression)), None)


def _columnwise(merge: pl.Expr) -> pl.Expr | None:
    """Return the merge of a column and its former values, side by side; None when it is not known how."""
    name = merge.meta.output_name()
    new, old = pl.col(name), pl.col(_of_old(name))
    match reduction_of(merge):
        case "sum":
            return (old.fill_null(0) + new.fill_null(0)).alias(name)
        case "min":
            return pl.min_horizontal(old, new).alias(name)
        case "max":
            return pl.max_horizontal(old, new).alias(name)
        case None:
            return None
