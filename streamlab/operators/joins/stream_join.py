"""A join of two streams on equal keys: every pair of rows, one of each, whose keys are equal, once both are there.

Both sides are kept whole, since a row can still meet any that comes later (Flink's regular join). A batch is added to
the rows of its own side and looked up among those of the other, so each pair is found by the later of its two rows. A
row that is taken back takes its pairs with it. Where rows come out without a match, too, that is known at once, and
taken back when a match comes: a key's first row on one side does that for all rows that it has on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.core.changelog import ADDS, ROW_KIND, RowKind
from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.joins.join_plan import LEFT, RIGHT, JoinPlan
from streamlab.operators.joins.join_side import COUNT, Change, JoinSide
from streamlab.state.forms import Fact, Shown, StateForm, dtype_text
from streamlab.state.snapshot import Snapshot
from streamlab.state.tables.hash_table import Slots
from streamlab.state.tables.key_index import KeyIndex

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
        facts = [Fact("kind of join", plan.how)]
        facts += [Fact(f"key {at + 1}", dtype_text(dtype)) for at, dtype in enumerate(plan.key_schema.dtypes())]
        for name, schema, updating in zip(_SIDES, plan.schemas, plan.updating, strict=True):
            facts.append(Fact(f"{name} stream", "updating" if updating else "append-only"))
            facts += [Fact(f"{name} column {column}", dtype_text(dtype)) for column, dtype in schema.items()]
        return StateForm("rows of two streams", tuple(facts), {name: Shown("") for name in (*plan.key_columns, COUNT)})


class StreamJoin(Operator):
    """Keeps the rows of both sides and gives each pair once; as a changelog, if a row that was given can go again."""

    def __init__(self, plan: JoinPlan, snapshot: Snapshot) -> None:
        self._plan = plan
        self._index = KeyIndex(plan.key_schema)
        self._sides = tuple(
            JoinSide(pl.Schema({**schema, **plan.key_schema}), updating=updating)
            for schema, updating in zip(plan.schemas, plan.updating, strict=True)
        )
        for name, side in zip(_SIDES, self._sides, strict=True):
            for frame in snapshot.keyed.get(name, ()):
                side.load(self._index.slots(frame, insert=True), frame)

    def process(self, batch: Batch, port: int = LEFT) -> list[Message]:
        """Return what the rows of one side bring about: first what goes, then what comes."""
        rows = batch.collected()
        out: list[pl.DataFrame] = []
        if not self._plan.matches_nulls:
            has_key = pl.Series(~_any_null(rows, self._plan.key_columns))
            if not has_key.all():
                out += self._without_key(rows.filter(~has_key), port)
                rows = rows.filter(has_key)
        if rows.height:
            slots = self._index.slots(rows, insert=True)
            change = self._sides[port].change(slots, rows)
            brought = self._filtered if self._plan.how in {"semi", "anti"} else self._paired
            for adds in (False, True):
                out += brought(change, port, adds=adds)
        return [Batch(frame, batch.tag, batch.ingested_us) for frame in out if frame.height]

    def snapshot(self) -> Snapshot:
        """Return the rows of both sides."""
        frames = zip(_SIDES, (side.frames() for side in self._sides), strict=True)
        return Snapshot({name: own for name, own in frames if own}, key_columns=self._plan.key_columns)

    def metrics(self) -> dict[str, float]:
        """Return the size of the state, and how many retractions found nothing to take back."""
        return {
            "state_rows": float(sum(side.rows for side in self._sides)),
            "state_bytes": float(self._index.size_bytes + sum(side.size_bytes for side in self._sides)),
            "ignored_retractions": float(sum(side.ignored for side in self._sides)),
        }

    def _without_key(self, rows: pl.DataFrame, port: int) -> list[pl.DataFrame]:
        """Return rows that have no key, and so match nothing."""
        if not self._plan.keeps_nulls(port):
            return []
        adds = np.ones(rows.height, np.bool_)
        if ROW_KIND in rows.columns:
            adds = rows.get_column(ROW_KIND).is_in([int(kind) for kind in ADDS]).to_numpy()
        return [
            self._given(self._alone(rows.filter(pl.Series(adds == is_added)), port), adds=is_added)
            for is_added in (False, True)
        ]

    def _paired(self, change: Change, port: int, *, adds: bool) -> Iterator[pl.DataFrame]:
        """Yield the pairs that come, or go, with the rows of one side, and rows of either that have no match (now)."""
        plan, other = self._plan, self._sides[1 - port]
        own, slots = _repeated(change, adds=adds)
        if plan.pads[1 - port]:
            # With its first match a row of the other side is no longer alone, with its last it is again.
            yield from self._all_of(change.closed if adds else change.opened, 1 - port, adds=adds)
        at, numbers = other.find(slots)
        for chosen in _pieces(len(at)):
            sides = own[pl.Series(at[chosen].astype(np.uint32))], other.take(numbers[chosen])
            yield self._given(plan.joined(*(sides if port == LEFT else sides[::-1])), adds=adds)
        if plan.pads[port]:
            yield self._given(self._alone(own.filter(pl.Series(other.live(slots) == 0)), port), adds=adds)

    def _filtered(self, change: Change, port: int, *, adds: bool) -> Iterator[pl.DataFrame]:
        """Yield the rows of the left side that come, or go: those with a match, or those without one."""
        is_anti = self._plan.how == "anti"
        if port == LEFT:
            own, slots = _repeated(change, adds=adds)
            has_match = self._sides[RIGHT].live(slots) > 0
            yield self._given(self._alone(own.filter(pl.Series(has_match != is_anti)), LEFT), adds=adds)
        else:
            yield from self._all_of(change.opened if adds != is_anti else change.closed, LEFT, adds=adds)

    def _all_of(self, slots: Slots, side: int, *, adds: bool) -> Iterator[pl.DataFrame]:
        """Yield all rows of some keys of one side, without a match."""
        _, numbers = self._sides[side].find(slots)
        for chosen in _pieces(len(numbers)):
            yield self._given(self._alone(self._sides[side].take(numbers[chosen]), side), adds=adds)

    def _alone(self, rows: pl.DataFrame, side: int) -> pl.DataFrame:
        return self._plan.joined(rows, None) if side == LEFT else self._plan.joined(None, rows)

    def _given(self, rows: pl.DataFrame, *, adds: bool) -> pl.DataFrame:
        """Return rows as they come out, with their kind if they can be taken back."""
        if not self._plan.gives_changes:
            return rows
        kind = RowKind.INSERT if adds else RowKind.DELETE
        return rows.with_columns(pl.lit(int(kind), pl.Int8).alias(ROW_KIND))


def _repeated(change: Change, *, adds: bool) -> tuple[pl.DataFrame, Slots]:
    """Return the rows that come, or those that go, each as often as it does, and the keys of all."""
    amounts = change.amounts if adds else -change.amounts
    if adds and (amounts == 1).all():
        return change.rows, change.slots
    at = np.repeat(np.arange(len(amounts)), np.maximum(amounts, 0))
    return change.rows[pl.Series(at.astype(np.uint32))], change.slots[at]


def _pieces(rows: int) -> Iterator[slice]:
    return (slice(start, start + _MOST_PAIRS) for start in range(0, rows, _MOST_PAIRS))


def _any_null(rows: pl.DataFrame, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return of each row whether any of some columns is null."""
    found = np.zeros(rows.height, np.bool_)
    for name in columns:
        column = rows.get_column(name)
        if column.null_count():
            found |= column.is_null().to_numpy()
    return found
