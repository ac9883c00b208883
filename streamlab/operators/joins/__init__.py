"""Streams that meet: joins of two streams.

===============  =================================================================================
module           what it does
===============  =================================================================================
``join_plan``    what is joined by what, as one value that all parts share
``stream_join``  both sides kept whole: every pair of rows with equal keys, once both are there
===============  =================================================================================
"""

from __future__ import annotations

from streamlab.operators.base import OperatorSpec
from streamlab.operators.joins.join_plan import LEFT, RIGHT, JoinPlan
from streamlab.operators.joins.stream_join import JoinKeysSpec, StreamJoinSpec

__all__ = ["JoinKeysSpec", "JoinPlan", "StreamJoinSpec", "join_operators"]


def join_operators(step: str, plan: JoinPlan) -> tuple[OperatorSpec, OperatorSpec, OperatorSpec]:
    """Return the operators before the hash exchanges of the left and the right side, and the one behind them."""
    left, right = (
        JoinKeysSpec(f"{step} ({name} keys)", plan=plan, side=side) for side, name in ((LEFT, "left"), (RIGHT, "right"))
    )
    return left, right, StreamJoinSpec(step, plan=plan)
