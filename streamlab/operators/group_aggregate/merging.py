"""Merging the partial results of a batch with those of the state.

The two sides have one row for each key in the same order, so a merge that is a plain sum, minimum or maximum is
computed column by column. With millions of keys that is many times faster than grouping pairs of rows, which is what
all other merges are given to.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.operators.group_aggregate.group_plan import ROWS, GroupPlan
from streamlab.state.hash_table import Slots
from streamlab.state.slot_runs import SLOT

_HELD = "__held"
"""Column that says which rows have former values beside them."""


class PairMerge:
    """Merges rows of partial results.

    Parameters
    ----------
    plan
        The aggregation.
    """

    def __init__(self, plan: GroupPlan) -> None:
        self._keys = plan.key_columns
        self._columns = [*plan.key_columns, *plan.partial_schema]
        self._grouped = [pl.col(ROWS).sum()] * plan.updating + list(plan.split.merge)
        pairs = [_columnwise(merge) for merge in self._grouped]
        self._pairs = [pair for pair in pairs if pair is not None]
        self.is_columnwise = len(self._pairs) == len(pairs)
        """Whether every merge is a sum, minimum or maximum of one column."""
        self._where_held = [
            pair if _is_sum(merge) else _if_held(pair)
            for merge, pair in zip(self._grouped, pairs, strict=True)
            if pair is not None
        ]

    def pairs(self, old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        """Return the merge of each row of `old` with the row of `new` beside it, `old` being earlier."""
        if not old.height:
            return old
        if self.is_columnwise:
            beside = old.drop(self._keys).rename(_of_old)
            return pl.concat([new, beside], how="horizontal").select(*self._keys, *self._pairs)
        number = np.arange(old.height)
        return self.repeats(pl.concat([old, new]), np.concatenate((number, number)))[0]

    def onto(self, old: pl.DataFrame, new: pl.DataFrame, held: npt.NDArray[np.bool_]) -> pl.DataFrame:
        """Return the merge of each row of `new` with the row of `old` beside it where one is held, which else is zeros.

        Only if every merge :attr:`is_columnwise`. `old` has no keys.
        """
        beside = pl.concat([new, old.rename(_of_old)], how="horizontal")
        if held.all():
            return beside.select(*self._keys, *self._pairs)
        # A sum with zero is right as it is.
        return beside.with_columns(pl.Series(_HELD, held)).select(*self._keys, *self._where_held)

    def repeats(self, partials: pl.DataFrame, slots: Slots) -> tuple[pl.DataFrame, Slots]:
        """Return the partial results with rows of equal slot merged, in order of first appearance, and their slots."""
        numbered = partials.with_columns(pl.Series(SLOT, slots))
        keys = [pl.col(name).first() for name in self._keys]
        merged = numbered.group_by(SLOT, maintain_order=True).agg(*keys, *self._grouped)
        return merged.select(self._columns), merged.get_column(SLOT).to_numpy()


def _of_old(name: str) -> str:
    return f"{name}_old"


def _if_held(pair: pl.Expr) -> pl.Expr:
    name = pair.meta.output_name()
    return pl.when(_HELD).then(pair).otherwise(pl.col(name)).alias(name)


def _is_sum(merge: pl.Expr) -> bool:
    return merge.meta.undo_aliases().meta.eq(pl.col(merge.meta.output_name()).sum())


def _columnwise(merge: pl.Expr) -> pl.Expr | None:
    """Return the merge of a column and its former values, side by side; None when it is not known how."""
    name = merge.meta.output_name()
    plain = merge.meta.undo_aliases().meta
    new, old = pl.col(name), pl.col(_of_old(name))
    if _is_sum(merge):
        return (old.fill_null(0) + new.fill_null(0)).alias(name)
    if plain.eq(new.min()):
        return pl.min_horizontal(old, new).alias(name)
    if plain.eq(new.max()):
        return pl.max_horizontal(old, new).alias(name)
    return None
