"""Incremental groups: a row of merged partial results per key.

A batch's partial results are merged with those of the touched keys, and only those keys are computed. Over an updating
input they are exact sums, so a row that is taken back is subtracted, and a count of rows says when a group is empty.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from streamlab.core.changelog import ADDS, ROW_KIND
from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator
from streamlab.operators.group_aggregate.changes import changelog
from streamlab.operators.group_aggregate.group_plan import ROWS, GroupPlan
from streamlab.operators.group_aggregate.merging import PairMerge
from streamlab.state.dense_columns import is_fixed_width
from streamlab.state.dense_groups import DenseGroups
from streamlab.state.hash_table import Slots
from streamlab.state.run_groups import RunGroups
from streamlab.state.snapshot import Snapshot

_UNUSED_SLOTS = 65_536
"""Slots of removed keys below which it is not worth numbering the keys anew."""


class PartialGroups(Operator):
    """Merges partial results and gives the changes of the results."""

    def __init__(self, plan: GroupPlan, snapshot: Snapshot | None) -> None:
        self._plan = plan
        self._merge = PairMerge(plan)
        self._ignored = 0
        self._groups = self._empty_groups()
        for frame in snapshot.keyed.get("groups", ()) if snapshot else ():
            self._groups.load(frame)

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        """Return the changes that the rows bring about, each key's at most once."""
        partials = batch.collected()
        if self._plan.updating:
            partials = self._signed(partials)
        slots = self._groups.slots(partials)
        if self._has_repeats(slots):
            partials = self._merge.repeats(partials, slots)
            slots = self._groups.slots(partials)
        changes = self._update(slots, partials)
        self._drop_unused()
        return [Batch(changes, batch.tag, batch.ingested_us)] if changes.height else []

    def on_end(self) -> list[Message]:
        """Return the aggregates of no rows, if that is what there were and there are no keys."""
        plan = self._plan
        if plan.keys or not plan.global_row_at_end or self._groups.rows:
            return []
        row = plan.over_nothing()
        none = row.clear()
        return [Batch(changelog(added=row, before=none, after=none, removed=none))]

    def snapshot(self) -> Snapshot:
        """Return the groups."""
        return Snapshot(keyed={"groups": self._groups.frames()}, key_columns=self._plan.exchange_keys)

    def metrics(self) -> dict[str, float]:
        """Return the size of the state, and how many retractions found nothing to take back."""
        return {
            "state_rows": float(self._groups.rows),
            "state_bytes": float(self._groups.size_bytes),
            "ignored_retractions": float(self._ignored),
        }

    def _signed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the partial results of added rows less those of rows that are taken back."""
        plan = self._plan
        adds = pl.col(ROW_KIND).is_in([int(kind) for kind in ADDS])
        added = plan.partials(rows.lazy().filter(adds).drop(ROW_KIND))
        taken = plan.partials(rows.lazy().filter(~adds).drop(ROW_KIND))
        negative = taken.with_columns(
            (0 - pl.col(name)).cast(dtype).alias(name) for name, dtype in plan.partial_schema.items()
        )
        both = pl.concat([added, negative]).group_by(plan.key_columns, maintain_order=True)
        return (
            both.agg(pl.col(list(plan.partial_schema)).sum()).select(*plan.key_columns, *plan.partial_schema).collect()
        )

    def _has_repeats(self, slots: Slots) -> bool:
        """Return whether any slot is there twice: when the batch has been combined by several subtasks, or by none."""
        return bool(pl.Series(slots).is_duplicated().any())

    def _update(self, slots: Slots, partials: pl.DataFrame) -> pl.DataFrame:
        """Merge partial results of distinct keys into the state and return the changes."""
        held = self._groups.holds(slots)
        known, fresh = np.flatnonzero(held), np.flatnonzero(~held)
        new = partials[fresh]
        if self._plan.updating:
            self._ignored -= int(new.filter(pl.col(ROWS) < 0)[ROWS].sum())
            alive = (new[ROWS] > 0).to_numpy()
            fresh, new = fresh[alive], new.filter(pl.Series(alive))
        self._groups.put(slots[fresh], new)
        touched = partials[known]
        old = touched.select(self._plan.key_columns).hstack(self._groups.get(slots[known])) if len(known) else touched
        merged = self._merge.pairs(old, touched)
        removed = old.clear()
        if self._plan.updating and len(known):
            self._ignored -= int(merged.filter(pl.col(ROWS) < 0)[ROWS].sum())
            gone = (merged[ROWS] <= 0).to_numpy()
            self._groups.drop(slots[known[gone]])
            removed = old.filter(pl.Series(gone))
            known, old, merged = known[~gone], old.filter(pl.Series(~gone)), merged.filter(pl.Series(~gone))
        self._groups.put(slots[known], merged)
        return changelog(
            added=self._results(new),
            before=self._results(old),
            after=self._results(merged),
            removed=self._results(removed),
            emit_update_before=self._plan.emit_update_before,
        )

    def _results(self, partials: pl.DataFrame) -> pl.DataFrame:
        return self._plan.named(self._plan.finals(partials.lazy())).collect()

    def _drop_unused(self) -> None:
        if self._groups.unused > max(_UNUSED_SLOTS, self._groups.rows):
            frames = self._groups.frames()
            self._groups = self._empty_groups()
            for frame in frames:
                self._groups.load(frame)

    def _empty_groups(self) -> DenseGroups | RunGroups:
        keys, values = self._plan.key_schema, self._plan.partial_schema
        dense = all(is_fixed_width(dtype) for dtype in values.dtypes())
        return DenseGroups(keys, values) if dense else RunGroups(keys, values)
