"""State of windows on a grid: state rows per key and pane, shared by all windows that a pane is part of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.core.event_time.row_watermarks import is_marked
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.operators.windows.columns import CLOSED, END, FINAL, PANE, START
from streamlab.operators.windows.grids.grid import Bounds
from streamlab.operators.windows.runs import Runs
from streamlab.operators.windows.state import Limits, WindowState, row_limits
from streamlab.operators.windows.window_plan import WindowPlan

_FIRST, _LAST = own("first_end"), own("last_end")
"""Ends of the first and of the last window that a pane is part of."""


class GridState(WindowState):
    """Keeps state rows until the last window of their pane takes no more rows.

    That a row which is late for one window of its pane is kept with the others' is no harm once that window has fired:
    it fires when the watermark crosses its end and, within the allowed lateness, when it gets a row itself; never again
    after that. A row for which a window had closed that has not fired yet, since the watermark of its batch is still to
    come, is kept apart (``partly_late``).
    """

    def __init__(self, plan: WindowPlan, frames: Mapping[str, Sequence[pl.DataFrame]]) -> None:
        super().__init__(plan)
        self._grid = plan.grid
        self._runs = Runs(PANE, lambda rows: plan.merged(rows, PANE), frames.get("panes", ()))
        self._partly_late = Runs(PANE, lambda rows: plan.merged(rows, PANE, CLOSED), frames.get("partly_late", ()))
        self._bounds = Bounds(self._grid)
        self._first_open = MIN_TIME_US

    def add(self, state_rows: pl.DataFrame) -> None:
        """Add state rows."""
        if CLOSED in state_rows.columns:
            self._partly_late.add(state_rows.drop_nulls(CLOSED))
            state_rows = state_rows.filter(pl.col(CLOSED).is_null()).drop(CLOSED)
        self._runs.add(state_rows)

    def is_on_time(self, state_rows: pl.DataFrame, limits: Limits) -> bool:
        """Compare the earliest pane with the last end that the watermark has passed."""
        first = state_rows[PANE].min()
        return not isinstance(first, int) or first >= self._bounds.at(limits.fire)[0]

    def judge(self, rows: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Tell late rows: their pane lies before the first window that is open."""
        if is_marked(rows):
            return self._judge_marked(rows)
        first_open = self._bounds.at(limits.final)[1]
        placed = rows.with_columns(self.plan.pane.alias(PANE))
        is_late = pl.col(PANE) < first_open
        return placed.filter(~is_late).drop(PANE), placed.filter(is_late).drop(PANE)

    def _judge_marked(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Tell late rows by the windows that had closed when each came."""
        placed = rows.with_columns(self.plan.pane.alias(PANE), row_limits(self.plan)[1].alias(FINAL))
        placed = placed.drop_nulls(PANE)  # in no window: neither taken nor late
        windows = self._grid.windows(placed[PANE].unique())
        ends = windows.group_by(PANE).agg(pl.col(END).min().alias(_FIRST), pl.col(END).max().alias(_LAST))
        placed = placed.join(ends, on=PANE, maintain_order="left")
        is_late = pl.col(_LAST) <= pl.col(FINAL)
        taken, late = placed.filter(~is_late), placed.filter(is_late)
        has_closed = taken.filter(pl.col(_FIRST) <= pl.col(FINAL)).select(PANE, FINAL).unique()
        if has_closed.height:
            pairs = has_closed.join(windows, on=PANE).filter(pl.col(END) <= pl.col(FINAL))
            closed = pairs.group_by(PANE, FINAL).agg(pl.col(END).max().alias(CLOSED))
            taken = taken.join(closed, on=[PANE, FINAL], how="left", maintain_order="left")
        beside = [_FIRST, _LAST, FINAL, PANE]
        return taken.drop(beside), late.drop(beside)

    def parts(self, taken: pl.DataFrame) -> Iterator[tuple[pl.DataFrame | None, pl.DataFrame | pl.LazyFrame]]:
        """Yield all at once: rows know which windows they are not in."""
        extra = [CLOSED] * (CLOSED in taken.columns)
        yield None, self.plan.state_rows(self.plan.small_or_lazy(taken), *extra, keyed=True)

    def fire(self, before: Limits, now: Limits) -> pl.DataFrame | None:
        """Merge the panes of the windows whose end lies between the two limits."""
        low, high = self._bounds.at(before.fire)[1], self._bounds.at(now.fire)[0]
        if high <= low:
            return None  # most watermarks close no window
        due = None if self._grid.is_disjoint else (pl.col(END) > before.fire) & (pl.col(END) <= now.fire)
        parts = [self._placed(pl.concat(panes), due) for panes in self._between(low, high) if panes]
        placed = pl.concat(parts) if parts else None
        return self.plan.results(placed) if placed is not None and placed.height else None

    def refire(self, added: pl.DataFrame, limits: Limits) -> pl.DataFrame | None:
        """Merge the panes of closed windows that got rows and are not final."""
        if limits.fire == limits.final:
            return None
        closed = added.filter(pl.col(PANE) < self._bounds.at(limits.fire)[0])
        windows = self._placed(closed, (pl.col(END) > limits.final) & (pl.col(END) <= limits.fire))
        return self._results_of(windows.select(self.identity).unique())

    def open_results(self, added: pl.DataFrame, limits: Limits) -> pl.DataFrame | None:
        """Merge the panes of the open windows that got rows."""
        placed = self._placed(added, pl.col(END) > limits.fire)
        return self._results_of(placed.select(self.identity).unique())

    def touched(self, state_rows: pl.DataFrame) -> pl.DataFrame:
        """Return keys and panes."""
        return state_rows.select(*self.plan.key_columns, PANE).unique()

    def forget(self, limits: Limits) -> None:
        """Drop the panes before the first window that is not final."""
        first_open = self._bounds.at(limits.final)[1]
        if first_open > self._first_open:
            self._first_open = first_open
            for runs in (self._runs, self._partly_late):
                runs.take_before(first_open)

    def promise(self, watermark: int, limits: Limits) -> int:
        """Return one tick before the earliest start of a window that is not final."""
        start = self._bounds.at(limits.final)[1]
        return start if start == MAX_TIME_US else start - self.plan.tick_us

    @property
    def frames(self) -> dict[str, tuple[pl.DataFrame, ...]]:
        """State rows for all windows of their panes, and those that are in some of them only."""
        return {"panes": self._runs.frames, "partly_late": self._partly_late.frames}

    def _between(self, low: int, high: int) -> list[list[pl.DataFrame]]:
        """Return the state rows of panes from `low` to before `high`: those for all windows, and those for some."""
        return [self._runs.between(low, high), self._partly_late.between(low, high)]

    def _placed(self, state_rows: pl.DataFrame, which: pl.Expr | None = None) -> pl.DataFrame:
        """Return a row for each state row and each of its windows for which `which` holds."""
        if self._grid.is_disjoint and which is None:
            rows = state_rows.rename({PANE: START})
            return rows.with_columns(self._grid.ends(rows[START]).alias(END))
        windows = self._grid.windows(state_rows[PANE].unique())
        if which is not None:
            windows = windows.filter(which)
        placed = state_rows.join(windows, on=PANE, maintain_order="left_right").drop(PANE)
        if CLOSED in placed.columns:
            placed = placed.filter((pl.col(END) > pl.col(CLOSED)) | pl.col(CLOSED).is_null()).drop(CLOSED)
        return placed

    def _results_of(self, windows: pl.DataFrame) -> pl.DataFrame | None:
        low, high = windows[START].min(), windows[END].max()
        if not isinstance(low, int) or not isinstance(high, int):
            return None
        keys = self.keys_of(windows)
        near = [[self.of_keys(panes, keys) for panes in found] for found in self._between(low, high) if found]
        placed = [self._placed(pl.concat(found)) for found in near]
        rows = self.among(pl.concat(placed), windows) if placed else None
        return self.plan.results(rows) if rows is not None and rows.height else None
