"""Before the hash exchange: rows of a batch are combined per key, or cut down to the columns that are needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl

from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.group_aggregate.close_keys import CloseKeys
from streamlab.operators.group_aggregate.group_plan import COUNT, GroupPlan
from streamlab.state.snapshot import Snapshot

_STREAMING_ROWS = 100_000
"""Rows of a batch for which starting Polars' streaming engine pays: it groups many keys in half the time."""

_HARDLY_FEWER = 0.8
"""Keys per row of a large batch from which on grouping it does not pay."""

_PASSED_BATCHES = 15
"""How many batches are then passed on before the keys of the last of them are counted, roughly."""


@dataclass(frozen=True)
class LocalAggregateSpec(OperatorSpec):
    """Gives a row of partial results for each key of a batch.

    Attributes
    ----------
    plan : GroupPlan
        The aggregation.
    """

    plan: GroupPlan = field(repr=False)

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; it has no state."""
        return _LocalAggregate(self.plan)


class _LocalAggregate(Operator):
    """Combines rows while that makes them fewer.

    Where keys hardly repeat within a batch, grouping costs more than it saves: then the following batches are passed
    on row by row, and every so often the keys of one are counted to see whether that has changed.
    """

    accepts_lazy: ClassVar[bool] = True

    def __init__(self, plan: GroupPlan) -> None:
        self._plan = plan
        self._passing = 0
        self._close_keys = CloseKeys(plan) if CloseKeys.fits(plan) else None
        self._far_apart = 0
        """How many batches are grouped by hash before it is tried again whether their keys lie close together."""

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        plan = self._plan
        rows = batch.frame.lazy()
        if self._passing:
            self._passing -= 1
            passed = plan.passed(rows)
            if not self._passing:
                passed = self._looked_at(passed.collect())
            return [Batch(passed, batch.tag, batch.ingested_us)]
        if self._close_keys is not None and not self._far_apart:
            partials = self._by_place(self._close_keys, rows)
            return [Batch(partials, batch.tag, batch.ingested_us)] if partials.height else []
        self._far_apart = max(0, self._far_apart - 1)
        large = isinstance(batch.frame, pl.LazyFrame) or batch.frame.height >= _STREAMING_ROWS
        # The streaming engine groups in any order, which first and last must not see.
        streaming = large and not plan.split.ordered
        grouped = plan.combined(rows, maintain_order=not streaming, counted=plan.can_pass)
        partials = grouped.collect(engine="streaming" if streaming else "in-memory")
        if plan.can_pass:
            count = int(partials.drop_in_place(COUNT).sum())
            self._pass_on(count, partials.height)
        return [Batch(partials, batch.tag, batch.ingested_us)] if partials.height else []

    def _by_place(self, close_keys: CloseKeys, rows: pl.LazyFrame) -> pl.DataFrame:
        """Return the partial results of a batch whose keys may lie close together."""
        singles = close_keys.singles(rows)
        partials = close_keys.combined(singles)
        if partials is None:
            self._far_apart = _PASSED_BATCHES
            partials = close_keys.grouped(singles)
        self._pass_on(singles.height, partials.height)
        return partials

    def _looked_at(self, passed: pl.DataFrame) -> pl.LazyFrame:
        """Decide what is done with the following batches from rows that are passed on, and return those."""
        keys = passed[self._plan.key_columns].hash_rows().to_frame().select(pl.all().approx_n_unique())
        self._pass_on(passed.height, keys.item())
        return passed.lazy()

    def _pass_on(self, rows: int, keys: int) -> None:
        hardly_fewer = rows >= _STREAMING_ROWS and keys > _HARDLY_FEWER * rows
        self._passing = _PASSED_BATCHES if hardly_fewer else 0


@dataclass(frozen=True)
class KeyProjectionSpec(OperatorSpec):
    """Gives the key columns and those that the aggregations read, row by row.

    Attributes
    ----------
    plan : GroupPlan
        The aggregation.
    """

    plan: GroupPlan = field(repr=False)

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; it has no state."""
        return _KeyProjection(self.plan)


class _KeyProjection(Operator):
    accepts_lazy: ClassVar[bool] = True

    def __init__(self, plan: GroupPlan) -> None:
        self._plan = plan

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        frame = self._plan.keyed(batch.frame.lazy())
        if isinstance(batch.frame, pl.DataFrame):
            return [Batch(frame.collect(), batch.tag, batch.ingested_us)]
        return [Batch(frame, batch.tag, batch.ingested_us)]
