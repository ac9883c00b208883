"""The half of a window aggregation before the hash exchange: combines the rows of one batch, so that few travel.

Lateness is judged at the window operator, whose watermark is the minimum over all inputs and so never ahead of the
local one. Rows that are in a window which the *local* watermark has closed, the one that stood before the row or before
the batch, may be late there, and a late row must be handed out whole; so these, and only these, travel as rows.

Rows whose time a step before has made null are in no window: they go to the dead letters.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from streamlab.connectors.contracts.dead_letters import row_letters
from streamlab.core.column_names.own_columns import own
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK, is_marked
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import DEAD_LETTERS, UNAGGREGATED, Batch, Message, Watermark
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.windows.columns import END, PANE
from streamlab.operators.windows.grids.grid import Bounds
from streamlab.operators.windows.window_plan import WindowPlan
from streamlab.state.snapshot import Snapshot

LOCAL = " (local)"
"""What the step's name has behind that of the whole aggregation."""
_MAY_BE_LATE = own("may_be_late")


@dataclass(frozen=True)
class PreAggregateSpec(OperatorSpec):
    """Local pre-aggregation of a window aggregation.

    Attributes
    ----------
    plan : WindowPlan
        The aggregation.
    combines : bool
        Whether rows may be combined. They may not if the window operator's watermark can be ahead of the local one,
        which happens when inputs become idle: then all travel as rows.
    """

    plan: WindowPlan = field(kw_only=True)
    combines: bool = field(kw_only=True, default=True)

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; its state is the local watermark."""
        return PreAggregate(self.plan, self.written, combines=self.combines, snapshot=snapshot)


class PreAggregate(Operator):
    """Turns rows into state rows (`MAIN`), keyed rows where they may be late (`UNAGGREGATED`), and dead letters."""

    accepts_lazy = True
    carries_row_watermarks = True

    def __init__(self, plan: WindowPlan, step: str, *, combines: bool, snapshot: Snapshot | None = None) -> None:
        self._plan = plan
        self._step = step
        self._combines = combines
        restored = snapshot.values.get("watermark") if snapshot else None
        self._watermark = restored if isinstance(restored, int) else MIN_TIME_US
        self._bounds = Bounds(plan.grid) if plan.gap_us is None else None
        self._closed_before = self._closing(self._watermark)
        self._rows_combined = 0

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        """Return at most one batch of state rows, then at most one of keyed rows and one of dead letters."""
        plan = self._plan
        rows = plan.small_or_lazy(batch.frame)
        timed = pl.col(plan.index_column).is_not_null()
        out: list[Message] = []
        if not self._combines:
            keyed = plan.keyed(rows).lazy().collect()
            refused = self._refused(keyed, batch)
            keyed = keyed.filter(timed) if refused else keyed
            return [*([replace(batch, frame=keyed, tag=UNAGGREGATED)] if keyed.height else []), *refused]
        if isinstance(batch.frame, pl.DataFrame) and is_marked(batch.frame):
            behind, rows = self._told_apart(batch.frame)
            if behind.height:
                out.append(replace(batch, frame=plan.keyed(behind), tag=UNAGGREGATED))
        state_rows = plan.collected(plan.state_rows(rows, keyed=False), large=plan.is_large(batch.frame))
        if state_rows[PANE].null_count():
            out += self._refused(rows.filter(~timed).lazy().collect(), batch)
            rows, state_rows = rows.filter(timed), state_rows.filter(pl.col(PANE).is_not_null())
        if not state_rows.height:
            return out
        first = state_rows[PANE].min()
        if isinstance(first, int) and first < self._closed_before:
            closed = plan.keyed(rows.filter(plan.pane < self._closed_before)).lazy().collect()
            out.insert(0, replace(batch, frame=closed, tag=UNAGGREGATED))
            state_rows = state_rows.filter(pl.col(PANE) >= self._closed_before)
        if state_rows.height:
            out.insert(0, replace(batch, frame=state_rows))
            self._rows_combined += state_rows.height
        return out

    def on_watermark(self, us: int) -> list[Message]:
        """Pass the watermark on."""
        self._watermark = us
        self._closed_before = self._closing(us)
        return [Watermark(us)]

    def snapshot(self) -> Snapshot:
        """Return the local watermark."""
        return Snapshot(values={"watermark": self._watermark})

    def metrics(self) -> dict[str, float]:
        """Return how many state rows were given."""
        return {"combined_rows": float(self._rows_combined)}

    def _told_apart(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | pl.LazyFrame]:
        """Return the rows that may be in a window that had closed when they came, and the others, unmarked."""
        may_be_late = frame.get_column(ROW_WATERMARK) > MIN_TIME_US
        if self._bounds is not None:
            # Few rows are behind their watermark: only their panes are looked at.
            at = may_be_late.arg_true()
            may_be_late = _mask(frame.height, at.filter(self._are_in_closed_windows(frame[at])))
        others = self._plan.small_or_lazy(frame.with_columns(may_be_late.alias(_MAY_BE_LATE)))
        return frame.filter(may_be_late), others.filter(~pl.col(_MAY_BE_LATE)).drop(_MAY_BE_LATE, ROW_WATERMARK)

    def _are_in_closed_windows(self, behind: pl.DataFrame) -> pl.Series:
        """Return of rows that bring their watermarks along whether those have closed a window that they are in."""
        plan = self._plan
        placed = behind.select(plan.pane.alias(PANE), pl.col(ROW_WATERMARK) + plan.reach_us)
        ends = plan.grid.windows(placed.get_column(PANE).drop_nulls().unique())
        first_ends = ends.group_by(PANE).agg(pl.col(END).min())
        placed = placed.join(first_ends, on=PANE, how="left", maintain_order="left")
        return placed.select((pl.col(END) <= pl.col(ROW_WATERMARK)).fill_null(value=False)).to_series()

    def _refused(self, rows: pl.DataFrame, batch: Batch) -> list[Message]:
        column = self._plan.index_column
        if not rows.get_column(column).null_count():
            return []
        unknown = rows.filter(pl.col(column).is_null()).select(self._plan.input_schema.names())
        letters = row_letters(self._step, unknown, f"the event time {column!r} is null", "")
        return [replace(batch, frame=letters, tag=DEAD_LETTERS)]

    def _closing(self, watermark: int) -> int:
        """Return the pane before which a row may be in a window that a watermark has closed."""
        if watermark in {MIN_TIME_US, MAX_TIME_US}:
            return watermark
        limit = watermark + self._plan.reach_us
        if self._bounds is not None:
            return self._bounds.at(limit)[0]
        return max(MIN_TIME_US, min(MAX_TIME_US, limit - (self._plan.gap_us or 0) + 1))


def _mask(rows: int, at: pl.Series) -> pl.Series:
    """Return a Boolean for each of so many rows: whether it is one of those."""
    mask = np.zeros(rows, dtype=np.bool_)
    mask[at.to_numpy()] = True
    return pl.Series(mask)
