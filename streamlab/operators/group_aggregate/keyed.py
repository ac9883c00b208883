"""The operator behind the exchange, as the job graph describes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.group_aggregate.accumulator_groups import AccumulatorGroups
from streamlab.operators.group_aggregate.buffered_groups import BufferedGroups
from streamlab.operators.group_aggregate.group_form import group_form
from streamlab.operators.group_aggregate.group_plan import GroupPlan
from streamlab.state.forms import StateForm
from streamlab.state.snapshot import Snapshot


@dataclass(frozen=True)
class GroupAggregateSpec(OperatorSpec):
    """Gives the changes of one result row per key: ``+I`` first, ``-U`` and ``+U`` when it changes, ``-D`` at its end.

    Attributes
    ----------
    plan : GroupPlan
        The aggregation.
    """

    plan: GroupPlan = field(repr=False)

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator, with the groups of a snapshot if there is one."""
        return (BufferedGroups if self.plan.keeps_rows else AccumulatorGroups)(self.plan, snapshot)

    @property
    def state_form(self) -> StateForm:
        """The keys and the aggregates."""
        return group_form(self.plan)
