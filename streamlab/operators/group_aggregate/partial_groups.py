"""Incremental groups: a row of merged partial results per key.

A batch's partial results are merged with those of the touched keys, and only those keys are computed. Over an updating
input they are exact sums, so a row that is taken back is subtracted, and a count of rows says when a group is empty.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.core.changelog import ADDS, ROW_KIND
from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator
from streamlab.operators.group_aggregate.changes import changed_rows, changelog, changelog_of, upserts_of
from streamlab.operators.group_aggregate.group_plan import ROWS, GroupPlan
from streamlab.operators.group_aggregate.merging import PairMerge
from streamlab.state.dense_columns import fits
from streamlab.state.dense_groups import DenseGroups
from streamlab.state.hash_table import Slots
from streamlab.state.run_groups import RunGroups
from streamlab.state.snapshot import Snapshot

_UNUSED_SLOTS = 65_536
"""Slots of removed keys below which it is not worth numbering the keys anew."""

_OTHERS = ("before", "after", "removed")


class PartialGroups(Operator):
    """Merges partial results and gives the changes of the results."""

    def __init__(self, plan: GroupPlan, snapshot: Snapshot | None) -> None:
        self._plan = plan
        self._merge = PairMerge(plan)
        self._ignored = 0
        self._no_results = pl.DataFrame(schema=plan.result_schema)
        self._groups = self._empty_groups()
        self._merges_all = self._merge.is_columnwise and not plan.updating
        for frame in snapshot.keyed.get("groups", ()) if snapshot else ():
            self._groups.load(frame)

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        """Return the changes that the rows bring about, each key's at most once."""
        rows = batch.collected()
        changes = self._changed(self._signed(rows) if self._plan.updating else rows)
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

    def _changed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Merge what has come into the state and return the changes."""
        slots = self._groups.slots(rows)
        repeated = self._groups.repeated(slots)
        if repeated is None:
            partials = self._plan.arrived(rows)
        else:
            partials, slots = self._once(rows, slots, repeated)
        groups = self._groups
        if isinstance(groups, DenseGroups) and self._merges_all:
            return self._merged(groups, slots, partials)
        return self._update(slots, partials)

    def _merged(self, groups: DenseGroups, slots: Slots, partials: pl.DataFrame) -> pl.DataFrame:
        """Merge partial results of distinct keys into the state, those of new keys with zeros, and return the changes.

        Taking old and new keys through the same calls saves to pick them apart, which with millions of keys costs as
        much as merging them.
        """
        held = groups.holds(slots)
        old = groups.get(slots)
        merged = self._merge.onto(old, partials, held)
        groups.set(slots, merged, held)
        if not self._plan.emit_update_before:
            return upserts_of(self._results(merged), held, changed_rows(old, merged.select(old.columns), held))
        before = merged.select(self._plan.key_columns).hstack(old)
        if not held.all():
            before = before.filter(pl.Series(held))
        rows = self._results(pl.concat([before, merged]))
        return changelog_of(rows, held)

    def _once(self, rows: pl.DataFrame, slots: Slots, repeated: npt.NDArray[np.bool_]) -> tuple[pl.DataFrame, Slots]:
        """Return the partial results with those of repeated keys merged; the others are left as they are."""
        again = pl.Series(repeated)
        partials, merged_slots = self._merge.repeats(self._plan.arrived(rows.filter(again)), slots[repeated])
        once = self._plan.arrived(rows.filter(~again)).select(partials.columns)
        return pl.concat([once, partials]), np.concatenate([slots[~repeated], merged_slots])

    def _update(self, slots: Slots, partials: pl.DataFrame) -> pl.DataFrame:
        """Merge partial results of distinct keys into the state and return the changes."""
        held = self._groups.holds(slots)
        new_slots, new = _picked(slots, partials, ~held)
        if self._plan.updating:
            new_slots, new = self._with_rows(new_slots, new)
        self._groups.add(new_slots, new)
        slots, touched = _picked(slots, partials, held)
        if not len(slots):
            return self._changes(added=new)
        old = touched.select(self._plan.key_columns).hstack(self._groups.get(slots))
        merged = self._merge.pairs(old, touched)
        removed = old.clear()
        if self._plan.updating:
            alive = (merged[ROWS] > 0).to_numpy()
            self._groups.drop(slots[~alive])
            removed, old = old.filter(pl.Series(~alive)), old.filter(pl.Series(alive))
            slots, merged = self._with_rows(slots, merged)
        self._groups.put(slots, merged)
        return self._changes(added=new, before=old, after=merged, removed=removed)

    def _with_rows(self, slots: Slots, partials: pl.DataFrame) -> tuple[Slots, pl.DataFrame]:
        """Leave out groups without rows, and count the retractions that have made one less than empty."""
        count = partials.get_column(ROWS)
        self._ignored -= int(count.clip(upper_bound=0).sum())
        return _picked(slots, partials, (count > 0).to_numpy())

    def _changes(self, *, added: pl.DataFrame, **others: pl.DataFrame) -> pl.DataFrame:
        """Return the changelog of partial results before and after; of kinds left out there are none."""
        blocks = {name: self._results(others[name]) if name in others else self._no_results for name in _OTHERS}
        return changelog(added=self._results(added), **blocks, emit_update_before=self._plan.emit_update_before)

    def _results(self, partials: pl.DataFrame) -> pl.DataFrame:
        if not partials.height:
            return self._no_results
        return self._plan.named(self._plan.finals(partials.lazy())).collect()

    def _drop_unused(self) -> None:
        if self._groups.unused > max(_UNUSED_SLOTS, self._groups.rows):
            frames = self._groups.frames()
            self._groups = self._empty_groups()
            for frame in frames:
                self._groups.load(frame)

    def _empty_groups(self) -> DenseGroups | RunGroups:
        keys, values = self._plan.key_schema, self._plan.partial_schema
        return DenseGroups(keys, values) if fits(values) else RunGroups(keys, values)


def _picked(slots: Slots, rows: pl.DataFrame, which: npt.NDArray[np.bool_]) -> tuple[Slots, pl.DataFrame]:
    """Return the slots and rows that are asked for; costs nothing when that is all of them."""
    if which.all():
        return slots, rows
    return slots[which], rows.filter(pl.Series(which))
