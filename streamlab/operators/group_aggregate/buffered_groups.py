"""Groups that keep their rows: for aggregations that cannot be merged, or whose input takes back rows.

A batch brings the rows of the touched keys up to date and runs the user's own aggregations over those, so its cost is
that of the rows of the touched keys, however many others there are. The results that have been given are kept, too,
rather than computed again when they are taken back: a sum of floats need not come out the same to the last bit beside
other groups, nor a list of different values in the same order.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from streamlab.core.changelog import ADDS, ROW_KIND
from streamlab.core.column_names.own_columns import own
from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator
from streamlab.operators.group_aggregate.changes import changelog
from streamlab.operators.group_aggregate.group_plan import ALL, GroupPlan, given_column
from streamlab.state.snapshot import Snapshot
from streamlab.state.tables.hash_table import Slots
from streamlab.state.tables.key_index import KeyIndex
from streamlab.state.tables.slot_runs import SLOT, SlotRuns

_SIGN, _COUNT, _NTH_ADD, _TAKEN, _FORGIVEN = map(own, ("sign", "count", "nth_add", "taken", "forgiven"))


class BufferedGroups(Operator):
    """Keeps rows and the result per key, and gives the changes of the results."""

    def __init__(self, plan: GroupPlan, snapshot: Snapshot | None) -> None:
        self._plan = plan
        self._index = KeyIndex(plan.key_schema)
        self._runs = SlotRuns()
        self._ignored = 0
        self._columns = list(plan.row_schema)
        self._given = SlotRuns()
        inside = dict(zip(plan.key_names, plan.key_columns, strict=False))
        self._names = {name: inside.get(name, given_column(name)) for name in plan.result_schema}
        self._no_results = pl.DataFrame(schema=pl.Schema({SLOT: pl.Int64(), **plan.result_schema}))
        if snapshot is not None:
            self._restore(snapshot)

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        """Return the changes that the rows bring about, each key's at most once."""
        rows = self._numbered(batch.collected())
        slots = rows.get_column(SLOT).unique().sort().to_numpy()
        old = self._runs.fetch(slots)
        if old is None:
            old = rows.drop(ROW_KIND, strict=False).clear()
        before = self._results_given(slots)
        if self._plan.updating:
            kept, ignored = _folded(old, rows, self._columns)
            self._ignored += ignored
            self._runs.replace(slots, kept)
        else:
            kept = pl.concat([old, rows])
            self._runs.append(rows)
        after = self._results(kept)
        self._given.replace(slots, self._as_kept(after))
        changes = self._changes(before, after)
        return [Batch(changes, batch.tag, batch.ingested_us)] if changes.height else []

    def on_end(self) -> list[Message]:
        """Return the aggregates of no rows, if that is what there were and there are no keys."""
        plan = self._plan
        if plan.keys or not plan.global_row_at_end or self._runs.rows:
            return []
        row = plan.over_nothing()
        none = row.clear()
        return [Batch(changelog(added=row, before=none, after=none, removed=none))]

    def snapshot(self) -> Snapshot:
        """Return the groups."""
        keyed = {"rows": self._runs.frames(), "given": self._given.frames()}
        return Snapshot(keyed=keyed, key_columns=self._plan.exchange_keys)

    def metrics(self) -> dict[str, float]:
        """Return the size of the state, and how many retractions found nothing to take back."""
        return {
            "state_rows": float(self._runs.rows),
            "state_bytes": float(self._runs.size_bytes + self._given.size_bytes + self._index.size_bytes),
            "ignored_retractions": float(self._ignored),
        }

    def _restore(self, snapshot: Snapshot) -> None:
        for frame in snapshot.keyed.get("rows", ()):
            self._runs.append(self._numbered(frame))
        given = snapshot.keyed.get("given", ())
        results = self._as_kept(self._no_results)
        if given and all(frame.schema == results.drop(SLOT).schema for frame in given):
            for frame in given:
                self._given.append(self._numbered(frame))
        elif (rows := self._runs.fetch(np.arange(self._index.size))) is not None:
            # A snapshot of the first release has none, and one of a query with other aggregates has those.
            self._given.append(self._as_kept(self._results(rows)))

    def _results_given(self, slots: Slots) -> pl.DataFrame:
        """Return `SLOT` and the current result of each key that has one, by slot."""
        found = self._given.fetch(slots)
        if found is None:
            return self._no_results
        return found.sort(SLOT).select(SLOT, *(pl.col(inside).alias(name) for name, inside in self._names.items()))

    def _as_kept(self, results: pl.DataFrame) -> pl.DataFrame:
        """Return results with the key columns inside."""
        keys = [] if self._plan.keys else [pl.lit(0, pl.Int8).alias(ALL)]
        return results.select(*keys, *(pl.col(name).alias(inside) for name, inside in self._names.items()), SLOT)

    def _numbered(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.Series(SLOT, self._index.slots(rows, insert=True)))

    def _results(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return `SLOT` and the result row of each key, by slot."""
        plan = self._plan
        split = plan.split
        keys = [pl.col(name).first().alias(_of(name)) for name in plan.key_columns]
        grouped = rows.lazy().group_by(SLOT, maintain_order=True)
        if split.is_incremental:
            found = grouped.agg(*keys, *split.partial).select(SLOT, *(k.meta.output_name() for k in keys), *split.final)
        else:
            found = grouped.agg(*keys, *split.buffered)
        renamed = {_of(column): name for column, name in zip(plan.key_columns, plan.key_names, strict=False)}
        return found.sort(SLOT).rename(renamed, strict=False).select(SLOT, *plan.result_schema).collect()

    def _changes(self, old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        """Return the changes between the results of the same keys, both with `SLOT` and ordered by it."""
        was, now = pl.col(SLOT).is_in(old[SLOT].implode()), pl.col(SLOT).is_in(new[SLOT].implode())
        return changelog(
            added=new.filter(~was).drop(SLOT),
            before=old.filter(now).drop(SLOT),
            after=new.filter(was).drop(SLOT),
            removed=old.filter(~now).drop(SLOT),
            emit_update_before=self._plan.emit_update_before,
        )


def _of(key: str) -> str:
    """Return what a key is called while an aggregate may have its name."""
    return own(f"of_{key}")


def _folded(old: pl.DataFrame, changes: pl.DataFrame, columns: list[str]) -> tuple[pl.DataFrame, int]:
    """Return the rows after some changes, and how many retractions found nothing to take back.

    Of rows that are equal in the columns that are kept the first to come is the first to go.
    """
    adds = pl.col(ROW_KIND).is_in([int(kind) for kind in ADDS])
    sign = pl.when(adds).then(1).otherwise(-1).cast(pl.Int64)
    history = pl.concat([old.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND)), changes.select(*old.columns, ROW_KIND)])
    equal = [SLOT, *columns]
    counted = history.with_columns(sign.alias(_SIGN)).with_columns(
        pl.col(_SIGN).cum_sum().over(equal).alias(_COUNT),
        pl.when(adds).then(1).otherwise(0).cast(pl.Int64).cum_sum().over(equal).alias(_NTH_ADD),
        (pl.col(_SIGN) < 0).sum().over(equal).cast(pl.Int64).alias(_TAKEN),
    )
    forgiven = (-pl.col(_COUNT).min().over(equal)).clip(0)
    counted = counted.with_columns(forgiven.alias(_FORGIVEN))
    kept = counted.filter(adds & (pl.col(_NTH_ADD) > pl.col(_TAKEN) - pl.col(_FORGIVEN)))
    ignored = counted.group_by(equal).agg(pl.col(_FORGIVEN).first())[_FORGIVEN].sum()
    return kept.select(old.columns), int(ignored)
