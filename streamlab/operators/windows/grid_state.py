"""State of windows on a grid: state rows per key and pane, shared by all windows that a pane is part of."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streamlab.core.time import MAX_TIME_US
from streamlab.operators.windows.columns import END, PANE, START
from streamlab.operators.windows.grid import Bounds
from streamlab.operators.windows.runs import Runs
from streamlab.operators.windows.state import Limits, WindowState
from streamlab.operators.windows.window_plan import WindowPlan


class GridState(WindowState):
    """Keeps state rows until the last window of their pane takes no more rows.

    That a row which is late for one window of its pane is kept with the others' is no harm: a window fires when the
    watermark crosses its end and, within the allowed lateness, when it gets a row itself; never again after that.
    """

    def __init__(self, plan: WindowPlan, frames: Sequence[pl.DataFrame] = ()) -> None:
        super().__init__(plan)
        self._grid = plan.grid
        self._runs = Runs(PANE, lambda rows: plan.merged(rows, PANE), frames)
        self._bounds = Bounds(self._grid)

    def add(self, state_rows: pl.DataFrame) -> None:
        """Add state rows."""
        self._runs.add(state_rows)

    def is_on_time(self, state_rows: pl.DataFrame, limits: Limits) -> bool:
        """Compare the earliest pane with the last end that the watermark has passed."""
        first = state_rows[PANE].min()
        return not isinstance(first, int) or first >= self._bounds.at(limits.fire)[0]

    def judge(self, rows: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Tell late rows: their pane lies before the first window that is open."""
        first_open = self._bounds.at(limits.final)[1]
        placed = rows.with_columns(self.plan.pane().alias(PANE))
        is_late = pl.col(PANE) < first_open
        return placed.filter(~is_late).drop(PANE), placed.filter(is_late).drop(PANE)

    def fire(self, before: Limits, now: Limits) -> pl.DataFrame | None:
        """Merge the panes of the windows whose end lies between the two limits."""
        low, high = self._bounds.at(before.fire)[1], self._bounds.at(now.fire)[0]
        panes = self._runs.between(low, high)
        if not panes:
            return None
        rows = pl.concat(panes)
        if self._grid.is_disjoint:
            placed = self._placed(rows)
        else:
            due = (pl.col(END) > before.fire) & (pl.col(END) <= now.fire)
            placed = self._placed(rows, due)
        return self.plan.results(placed) if placed.height else None

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
        self._runs.take_before(self._bounds.at(limits.final)[1])

    def promise(self, watermark: int, limits: Limits) -> int:
        """Return one tick before the earliest start of a window that is not final."""
        start = self._bounds.at(limits.final)[1]
        return start if start == MAX_TIME_US else start - self.plan.tick_us

    @property
    def frames(self) -> dict[str, tuple[pl.DataFrame, ...]]:
        """One list of frames."""
        return {"panes": self._runs.frames}

    def _placed(self, state_rows: pl.DataFrame, which: pl.Expr | None = None) -> pl.DataFrame:
        """Return a row for each state row and each of its windows for which `which` holds."""
        if self._grid.is_disjoint and which is None:
            rows = state_rows.rename({PANE: START})
            return rows.with_columns(self._grid.ends(rows[START]).alias(END))
        windows = self._grid.windows(state_rows[PANE].unique())
        if which is not None:
            windows = windows.filter(which)
        return state_rows.join(windows, on=PANE, maintain_order="left_right").drop(PANE)

    def _results_of(self, windows: pl.DataFrame) -> pl.DataFrame | None:
        low, high = windows[START].min(), windows[END].max()
        if not isinstance(low, int) or not isinstance(high, int):
            return None
        keys = self.keys_of(windows)
        found = [self.of_keys(panes, keys) for panes in self._runs.between(low, high)]
        rows = self.among(self._placed(pl.concat(found)), windows) if found else None
        return self.plan.results(rows) if rows is not None and rows.height else None
