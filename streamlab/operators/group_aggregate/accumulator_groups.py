"""Incremental groups: a row of merged partial results per key.

A batch's partial results are merged with those of the touched keys, and only those keys are computed. Over an updating
input they are exact sums, so a row that is taken back is subtracted, and a count of rows says when a group is empty.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.core.changelog import ADDS, ROW_KIND, RowKind
from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator
from streamlab.operators.group_aggregate.changes import changelog, differing
from streamlab.operators.group_aggregate.group_plan import ROWS, GroupPlan
from streamlab.operators.group_aggregate.merging import PairMerge
from streamlab.state.snapshot import Snapshot
from streamlab.state.tables.dense_columns import fits
from streamlab.state.tables.fixed_width_table import FixedWidthTable
from streamlab.state.tables.hash_table import Slots
from streamlab.state.tables.slot_order import Places, in_order
from streamlab.state.tables.variable_width_table import VariableWidthTable

_UNUSED_SLOTS = 65_536
"""Slots of removed keys below which it is not worth numbering the keys anew."""
_LEAST_PART_ROWS = 4_096
"""Rows from which on it pays to add batches one after the other that came together."""


class AccumulatorGroups(Operator):
    """Merges partial results and gives the changes of the results."""

    def __init__(self, plan: GroupPlan, snapshot: Snapshot | None) -> None:
        self._plan = plan
        self._merge = PairMerge(plan)
        self._ignored = 0
        self._no_results = pl.DataFrame(schema=plan.result_schema)
        self._groups = self._empty_groups()
        for frame in snapshot.keyed.get("groups", ()) if snapshot else ():
            self._groups.load(frame)

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        """Return the changes that the rows bring about, in each batch one of a key at most."""
        # Rows are picked out of one chunk several times faster than out of many.
        rows = batch.collected().rechunk()
        parts = [self._signed(rows)] if self._plan.updating else self._rising_parts(rows)
        changed = [self._changed(part) for part in parts]
        self._drop_unused()
        return [Batch(changes, batch.tag, batch.ingested_us) for changes in changed if changes.height]

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

    def _rising_parts(self, rows: pl.DataFrame) -> list[pl.DataFrame]:
        """Return the rows as they are, or parted where batches of rising keys were joined that can be added as such."""
        if rows.height < _LEAST_PART_ROWS or not self._takes_sums(rows):
            return [rows]
        keys = rows.get_column(next(iter(self._plan.key_schema))).to_numpy()
        (ends,) = np.nonzero(keys[1:] <= keys[:-1])
        if not len(ends) or rows.height < _LEAST_PART_ROWS * (len(ends) + 1):
            return [rows]
        bounds = [0, *(int(end) + 1 for end in ends), rows.height]
        return [rows[start:end] for start, end in pairwise(bounds)]

    def _changed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Merge what has come into the state and return the changes."""
        groups = self._groups
        size = groups.index.size
        found = groups.slots(rows)
        if isinstance(groups, FixedWidthTable) and self._can_increase(groups, rows):
            # Each key is there once, and keys that were new together lie in the state as they come: no need for order.
            is_new = found >= size
            new_slots, new = _picked(found, rows, is_new)
            if _is_rising(new_slots):
                groups.extend(new)
                return self._increased(groups, found, rows, is_new)
        slots, partials = self._once(rows, *in_order(found))
        groups.extend(partials[int(np.searchsorted(slots, size)) :])
        return self._update(slots, partials)

    def _can_increase(self, groups: FixedWidthTable, rows: pl.DataFrame) -> bool:
        """Return whether these are partial results that add to every row, by rising key, as close keys come."""
        if not self._takes_sums(rows):
            return False
        keys = rows.get_column(next(iter(self._plan.key_schema)))
        return _is_rising(keys.to_numpy()) and groups.can_increase(rows) and self._all_differ(rows)

    def _takes_sums(self, rows: pl.DataFrame) -> bool:
        """Return whether these are partial results, by one whole number, that are added to those in the state."""
        (key, dtype), *others = self._plan.key_schema.items()
        if not self._merge.adds or others or not dtype.is_integer() or not isinstance(self._groups, FixedWidthTable):
            return False
        has_partials = all(name in rows.columns for name in self._plan.partial_schema)
        return has_partials and not rows.get_column(key).null_count()

    def _once(self, rows: pl.DataFrame, places: Places, slots: Slots) -> tuple[Slots, pl.DataFrame]:
        """Return the slots, each once, and their partial results, those of a slot that is repeated merged."""
        same = slots[1:] == slots[:-1]
        again = np.flatnonzero(same) + 1
        if not len(again):
            return slots, self._arrived(rows, places)
        # Repeats are few, as rule, so whatever can be done with their places alone is.
        first = np.concatenate(([True], ~same))
        heads = again[first[again - 1]] - 1
        repeated = np.sort(np.concatenate((heads, again)))
        merged = self._merge.repeats(self._arrived(rows, places[repeated]), slots[repeated])
        columns = self._arrived(rows, places[first]).get_columns()
        where = heads - np.searchsorted(again, heads)
        return slots[first], pl.DataFrame([_replaced(column, where, merged) for column in columns])

    def _arrived(self, rows: pl.DataFrame, places: Places) -> pl.DataFrame:
        """Return the partial results that some of the rows are or stand for."""
        return self._plan.arrived(rows[pl.Series(places)])

    def _update(self, slots: Slots, partials: pl.DataFrame) -> pl.DataFrame:
        """Merge partial results of distinct keys into the state and return the changes."""
        plan, groups = self._plan, self._groups
        held = groups.holds(slots)
        new_slots, new = _picked(slots, partials, ~held)
        if plan.updating:
            new_slots, new = self._with_rows(new_slots, new)
        groups.add(new_slots, new)
        slots, touched = _picked(slots, partials, held)
        if not len(slots):
            return self._changes(added=new)
        old, merged = self._merged(slots, touched)
        if old is None or not plan.updating:
            return self._changes(added=new, before=old, after=merged)
        alive = (merged[ROWS] > 0).to_numpy()
        groups.drop(slots[~alive])
        _, merged = self._with_rows(slots, merged)
        removed, old = old.filter(pl.Series(~alive)), old.filter(pl.Series(alive))
        return self._changes(added=new, before=old, after=merged, removed=removed)

    def _merged(self, slots: Slots, touched: pl.DataFrame) -> tuple[pl.DataFrame | None, pl.DataFrame]:
        """Merge partial results into rows of the state, and return those as they were and as they are, keys first.

        How they were is None when nobody will ask, since all of them have changed.
        """
        groups, keys = self._groups, touched[self._plan.key_columns]
        if self._merge.adds and isinstance(groups, FixedWidthTable) and groups.can_increase(touched):
            old = None if self._all_differ(touched) else keys.hstack(groups.get(slots))
            return old, keys.hstack(groups.increase(slots, touched))
        old = groups.get(slots)
        merged = self._merge.pairs(old, touched)
        groups.put(slots, merged)
        return keys.hstack(old), merged

    def _all_differ(self, partials: pl.DataFrame) -> bool:
        """Return whether adding these to any others changes every row, and the others are not asked for."""
        if self._plan.updating or self._plan.emit_update_before:
            return False
        exact = (partials[name] for name, dtype in self._plan.partial_schema.items() if dtype == pl.Int64)
        return any((column != 0).all() for column in exact)

    def _increased(
        self, groups: FixedWidthTable, slots: Slots, partials: pl.DataFrame, is_new: npt.NDArray[np.bool_]
    ) -> pl.DataFrame:
        """Add partial results that change every row, of distinct keys, to the state and return the changes."""
        groups.begin(slots[is_new])
        merged = partials[self._plan.key_columns].hstack(groups.increase(slots, partials))
        kinds = np.where(is_new, np.int8(RowKind.INSERT), np.int8(RowKind.UPDATE_AFTER))
        return self._results(merged).hstack([pl.Series(ROW_KIND, kinds)])

    def _with_rows(self, slots: Slots, partials: pl.DataFrame) -> tuple[Slots, pl.DataFrame]:
        """Leave out groups without rows, and count the retractions that have made one less than empty."""
        count = partials.get_column(ROWS)
        self._ignored -= int(count.clip(upper_bound=0).sum())
        return _picked(slots, partials, (count > 0).to_numpy())

    def _changes(
        self,
        *,
        added: pl.DataFrame,
        before: pl.DataFrame | None = None,
        after: pl.DataFrame | None = None,
        removed: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        """Return the changelog of partial results before and after; of kinds left out there are none."""
        plan = self._plan
        if before is not None and after is not None and not plan.updating and not plan.emit_update_before:
            # Only whether a row has changed is of interest, and its partial results tell that.
            changed = differing(before[list(plan.partial_schema)], after[list(plan.partial_schema)])
            before, after = None, after if changed is None else after.filter(changed)
        return changelog(
            added=self._results(added),
            before=None if before is None else self._results(before),
            after=self._results(after),
            removed=self._results(removed),
            emit_update_before=plan.emit_update_before,
        )

    def _results(self, partials: pl.DataFrame | None) -> pl.DataFrame:
        if partials is None or not partials.height:
            return self._no_results
        return self._plan.named(self._plan.finals(partials.lazy())).collect()

    def _drop_unused(self) -> None:
        if self._groups.unused > max(_UNUSED_SLOTS, self._groups.rows):
            frames = self._groups.frames()
            self._groups = self._empty_groups()
            for frame in frames:
                self._groups.load(frame)

    def _empty_groups(self) -> FixedWidthTable | VariableWidthTable:
        keys, values = self._plan.key_schema, self._plan.partial_schema
        return FixedWidthTable(keys, values) if fits(values) else VariableWidthTable(keys, values)


def _is_rising(numbers: npt.NDArray[np.int64]) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


def _picked(slots: Slots, rows: pl.DataFrame, which: npt.NDArray[np.bool_]) -> tuple[Slots, pl.DataFrame]:
    """Return the slots and rows that are asked for; costs nothing when they stand together."""
    count = int(np.count_nonzero(which))
    first = int(which.argmax()) if count else 0
    if which[first : first + count].all():
        return slots[first : first + count], rows[first : first + count]
    return slots[which], rows.filter(pl.Series(which))


def _replaced(column: pl.Series, places: Slots, others: pl.DataFrame) -> pl.Series:
    """Return the column with the values of others in these places, if it is among them."""
    if column.name not in others.columns:
        return column
    values = others.get_column(column.name)
    if not column.dtype.is_nested():
        return column.scatter(places, values)
    which = np.arange(len(column))
    which[places] = np.arange(len(column), len(column) + len(values))
    return pl.concat([column, values])[which]
