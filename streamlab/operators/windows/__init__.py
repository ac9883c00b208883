"""Windows over event time: assignment, local pre-aggregation, and the keyed window aggregation."""

from __future__ import annotations

import polars as pl

from streamlab.core.aggregation import AggregateSplit
from streamlab.core.event_time.windows import Trigger, Windows
from streamlab.operators.windows.grids.assign import merge_sessions, panes_of, windows_of
from streamlab.operators.windows.pre_aggregate import LOCAL, PreAggregate, PreAggregateSpec
from streamlab.operators.windows.window_aggregate import WindowAggregate, WindowAggregateSpec
from streamlab.operators.windows.window_plan import WindowPlan


def window_operators(
    step: str,
    *,
    index_column: str,
    windows: Windows,
    keys: tuple[pl.Expr, ...],
    split: AggregateSplit,
    input_schema: pl.Schema,
    include_boundaries: bool = False,
    allowed_lateness_us: int = 0,
    trigger: Trigger | None = None,
    combines: bool = True,
) -> tuple[PreAggregateSpec, tuple[str, ...], WindowAggregateSpec]:
    """Return both halves of a window aggregation and the key columns of the hash exchange between them.

    Parameters
    ----------
    step
        Name of the step; the first half's is this with `` (local)``.
    index_column, windows, keys, split, input_schema, include_boundaries, allowed_lateness_us, trigger
        See :class:`WindowPlan`.
    combines
        Whether rows are combined before the exchange. Must be False when an input can become idle: only then can the
        watermark behind the exchange run ahead of one before it, and a combined row could no longer be judged.

    Raises
    ------
    PlanError
        If the windows cannot be assigned on this column.
    """
    plan = WindowPlan(
        index_column, windows, keys, split, input_schema, include_boundaries, allowed_lateness_us, trigger
    )
    local = PreAggregateSpec(step + LOCAL, plan=plan, combines=combines)
    return local, plan.key_columns, WindowAggregateSpec(step, plan=plan)


__all__ = [
    "PreAggregate",
    "PreAggregateSpec",
    "WindowAggregate",
    "WindowAggregateSpec",
    "WindowPlan",
    "merge_sessions",
    "panes_of",
    "window_operators",
    "windows_of",
]
