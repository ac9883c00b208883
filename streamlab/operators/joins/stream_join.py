"""A join of two streams on equal keys: every pair of rows, one of each, whose keys are equal, once both are there.

Both sides are kept whole, since a row can still meet any that comes later (Flink's regular join). A batch is looked up
among the rows of the other side, then added to those of its own, so each pair is found by the later of its two rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.joins.join_plan import LEFT, JoinPlan
from streamlab.state.forms import Fact, Shown, StateForm, dtype_text
from streamlab.state.key_index import KeyIndex
from streamlab.state.snapshot import Snapshot
from streamlab.state.tables.keyed_lists import KeyedLists

_SIDES = "left", "right"
_MOST_PAIRS = 262_144
"""Pairs of rows that are given as one batch: one key can bring about any number of them."""


@dataclass(frozen=True)
class JoinKeysSpec(OperatorSpec):
    """Puts the keys of a join beside the rows of one side, before they are sent to where their key is kept.

    Attributes
    ----------
    plan : JoinPlan
        The join.
    side : int
        Which side.
    """

    plan: JoinPlan = field(kw_only=True, repr=False)
    side: int = field(kw_only=True)

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; it has no state."""
        return _JoinKeys(self.plan, self.side)


class _JoinKeys(Operator):
    accepts_lazy = True

    def __init__(self, plan: JoinPlan, side: int) -> None:
        self._plan = plan
        self._side = side

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        keyed = self._plan.keyed(batch.frame.lazy(), self._side)
        if isinstance(batch.frame, pl.DataFrame):
            return [Batch(keyed.collect(), batch.tag, batch.ingested_us)]
        return [Batch(keyed, batch.tag, batch.ingested_us)]


@dataclass(frozen=True)
class StreamJoinSpec(OperatorSpec):
    """Joins two streams of keyed rows.

    Attributes
    ----------
    plan : JoinPlan
        The join; the same value that both `JoinKeysSpec` have.
    """

    plan: JoinPlan = field(kw_only=True, repr=False)

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator, with the rows of a snapshot."""
        return StreamJoin(self.plan, snapshot or Snapshot())

    @property
    def state_form(self) -> StateForm:
        """The keys, and the columns of both sides."""
        plan = self.plan
        facts = [Fact(f"key {at + 1}", dtype_text(dtype)) for at, dtype in enumerate(plan.key_schema.dtypes())]
        for name, schema in zip(_SIDES, plan.schemas, strict=True):
            facts += [Fact(f"{name} column {column}", dtype_text(dtype)) for column, dtype in schema.items()]
        return StateForm("rows of two streams", tuple(facts), {name: Shown("") for name in plan.key_columns})


class StreamJoin(Operator):
    """Keeps the rows of both sides, and gives each pair once."""

    def __init__(self, plan: JoinPlan, snapshot: Snapshot) -> None:
        self._plan = plan
        self._index = KeyIndex(plan.key_schema)
        self._lists = tuple(KeyedLists(pl.Schema({**schema, **plan.key_schema})) for schema in plan.schemas)
        for name, lists in zip(_SIDES, self._lists, strict=True):
            for frame in snapshot.keyed.get(name, ()):
                lists.append(self._index.slots(frame, insert=True), frame)

    def process(self, batch: Batch, port: int = LEFT) -> list[Message]:
        """Return the pairs that rows of one side make with those that the other has, then keep them."""
        rows = batch.collected()
        slots = self._index.slots(rows, insert=True)
        own, other = self._lists[port], self._lists[1 - port]
        at, numbers = other.find(slots)
        pairs: list[Message] = []
        for start in range(0, len(at), _MOST_PAIRS):
            chosen = slice(start, start + _MOST_PAIRS)
            sides = rows[pl.Series(at[chosen].astype(np.uint32))], other.rows.take(numbers[chosen])
            joined = self._plan.joined(*(sides if port == LEFT else sides[::-1]))
            pairs.append(Batch(joined, batch.tag, batch.ingested_us))
        own.append(slots, rows)
        return pairs

    def snapshot(self) -> Snapshot:
        """Return the rows of both sides."""
        frames = zip(_SIDES, (lists.rows.frames() for lists in self._lists), strict=True)
        keyed = {name: own for name, own in frames if own}
        return Snapshot(keyed, key_columns=self._plan.key_columns)

    def metrics(self) -> dict[str, float]:
        """Return the size of the state."""
        return {
            "state_rows": float(sum(lists.rows.rows for lists in self._lists)),
            "state_bytes": float(self._index.size_bytes + sum(lists.size_bytes for lists in self._lists)),
        }
