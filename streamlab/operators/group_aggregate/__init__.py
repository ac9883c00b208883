"""``group_by(keys).agg(...)`` over everything so far, given as a changelog.

==================  ==========================================================================================
module              what it does
==================  ==========================================================================================
``group_plan``      what is computed, as one value that all parts share, and which of two ways it is kept
``local``           before the hash exchange: combines the rows of a batch, or projects them
``partial_groups``  behind it: one row of merged partial results per key; subtracts what is taken back
``row_groups``      behind it: the input rows per key, computed anew for the keys that a batch touches
``changes``         from result rows before and after to ``+I -U +U -D``
==================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streamlab.core.aggregation import AggregateSplit
from streamlab.operators.base import OperatorSpec
from streamlab.operators.group_aggregate.group_plan import GroupPlan
from streamlab.operators.group_aggregate.keyed import GroupAggregateSpec
from streamlab.operators.group_aggregate.local import KeyProjectionSpec, LocalAggregateSpec

__all__ = ["GroupAggregateSpec", "GroupPlan", "KeyProjectionSpec", "LocalAggregateSpec", "group_operators"]


def group_operators(
    step: str,
    *,
    keys: Sequence[pl.Expr],
    split: AggregateSplit,
    input_schema: pl.Schema,
    updating: bool,
    emit_update_before: bool = True,
    global_row_at_end: bool = True,
) -> tuple[OperatorSpec, tuple[str, ...], OperatorSpec]:
    """Return the operator before the hash exchange, the exchange's key columns, and the operator behind it.

    Parameters
    ----------
    step
        Name of the step.
    keys
        As given to ``group_by``; empty for one aggregate over everything.
    split
        The aggregations, taken apart.
    input_schema
        Of the input rows, without the row kind.
    updating
        Whether the input is a changelog.
    emit_update_before
        Whether ``-U`` rows are given; a reader that knows the key can do without.
    global_row_at_end
        Without keys: whether an input that ends without any row gives the aggregates of no rows, as Polars does.
    """
    plan = GroupPlan(
        step,
        tuple(keys),
        split,
        input_schema,
        updating=updating,
        emit_update_before=emit_update_before,
        global_row_at_end=global_row_at_end,
    )
    before = LocalAggregateSpec(f"{step} (local)", plan) if plan.combines else KeyProjectionSpec(f"{step} (keys)", plan)
    return before, plan.exchange_keys, GroupAggregateSpec(step, plan)
