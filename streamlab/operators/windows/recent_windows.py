"""Which windows an operator has, for whoever looks: what is open is read from its state, what has fired from a ledger.

The ledger costs what a pass over the results' ends costs; the state is looked at only when somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from streamlab.core.changelog import ADDS, ROW_KIND
from streamlab.observe.panes import NEWEST, STORED
from streamlab.operators.windows.columns import END, PANE, ROWS, START
from streamlab.operators.windows.grids.assign import merge_sessions
from streamlab.operators.windows.state import Limits, WindowState
from streamlab.operators.windows.window_plan import WindowPlan

_MOST_COUNTED = 500_000
"""State rows, times the windows that each is in, whose keys are counted."""
_COUNT = pl.len().cast(pl.Int64)


@dataclass
class _Fired:
    keys: int | None = 0
    rows: int | None = 0
    firings: int = 0
    after_close: int = 0


class RecentWindows:
    """The newest windows that have given results, and how often. It begins anew when a job is restored.

    Parameters
    ----------
    plan
        The aggregation.
    """

    def __init__(self, plan: WindowPlan) -> None:
        self._plan = plan
        self._in_state, self._in_results = _row_counts(plan)
        self._fired: dict[tuple[int, int], _Fired] = {}

    def note(self, results: pl.DataFrame, limits: Limits, changes: pl.DataFrame | None = None) -> None:
        """Note results, sorted by end and start, given at these limits; as changes, where windows can fire again.

        A window that gave results before the job was restored changes by fewer keys than it has: then both counts are
        unknown.
        """
        windows = self._windows_of(results)
        more = {(start, end): (keys, rows) for start, end, keys, rows in windows if changes is None}
        if changes is not None:
            more = self._added_by(changes)
        for start, end, keys, _ in windows:
            known = self._fired.setdefault((start, end), _Fired())
            known.firings += 1
            known.after_close += end <= limits.fire
            more_keys, more_rows = more.get((start, end), (0, 0))
            known.keys = None if known.keys is None or known.keys + more_keys < keys else known.keys + more_keys
            is_counted = known.rows is not None and more_rows is not None and known.keys is not None
            known.rows = (known.rows or 0) + (more_rows or 0) if is_counted else None
        while len(self._fired) > NEWEST:
            del self._fired[next(iter(self._fired))]

    def panes(self, state: WindowState, limits: Limits) -> pl.DataFrame:
        """Return the newest windows, with the columns of `observe.panes.STORED`."""
        known = {
            (start, end): (start, end, _state_of(end, fired, limits), fired.keys, fired.rows, *_counts(fired))
            for (start, end), fired in self._fired.items()
        }
        for start, end, keys, rows in _kept(self._plan, state, limits, self._in_state).iter_rows():
            fired = self._fired.get((start, end), _Fired())
            known[start, end] = (start, end, _state_of(end, fired, limits), keys, rows, *_counts(fired))
        newest = sorted(known.values(), key=lambda pane: (pane[1], pane[0]))[-NEWEST:]
        return pl.DataFrame(newest, schema=STORED, orient="row")

    def _added_by(self, changes: pl.DataFrame) -> dict[tuple[int, int], tuple[int, int | None]]:
        """Return by how many keys and rows changes make each window larger."""
        sign = pl.when(pl.col(ROW_KIND).is_in([int(kind) for kind in ADDS])).then(1).otherwise(-1)
        rows = pl.lit(None, pl.Int64) if self._in_results is None else pl.col(self._in_results).cast(pl.Int64) * sign
        windows = changes.select(START, END, sign.alias("keys"), rows.alias("rows")).group_by(START, END)
        added = windows.agg(pl.col("keys").sum(), _total())
        return {(start, end): (keys, count) for start, end, keys, count in added.iter_rows()}

    def _windows_of(self, results: pl.DataFrame) -> list[tuple[int, int, int, int | None]]:
        """Return start, end, number of keys and of rows of the newest windows that results are of."""
        if self._plan.gap_us is not None:
            # Sessions are of one key each, so that there can be as many as results.
            newest = results.tail(NEWEST)
            counted = (
                newest[self._in_results] if self._in_results is not None else pl.repeat(None, newest.height, eager=True)
            )
            return list(zip(newest[START], newest[END], [1] * newest.height, counted, strict=True))
        runs = results[END].rle().struct.unnest()
        lengths = runs["len"].cast(pl.Int64)
        firsts = lengths.cum_sum() - lengths
        starts = results[START].gather(firsts)
        rows = pl.repeat(None, runs.height, dtype=pl.Int64, eager=True)
        if self._in_results is not None:
            values = results[self._in_results].cast(pl.Int64).to_numpy()
            rows = pl.Series(np.add.reduceat(values, firsts.to_numpy()))
        return pl.DataFrame([starts, runs["value"], lengths, rows.alias("rows")]).tail(NEWEST).rows()


def _state_of(end: int, fired: _Fired, limits: Limits) -> str:
    if end > limits.fire:
        return "open"
    if end <= limits.final:
        return "closed"
    return "refined" if fired.after_close > 1 else "fired"


def _counts(fired: _Fired) -> tuple[int, int]:
    return fired.firings, max(0, fired.after_close - 1)


def _kept(plan: WindowPlan, state: WindowState, limits: Limits, counted: str | None) -> pl.DataFrame:
    """Return start, end, keys and rows of the newest windows that may still change."""
    frames = [frame for frames in state.frames.values() for frame in frames]
    if not frames:
        return pl.DataFrame(schema={START: pl.Int64, END: pl.Int64, "keys": pl.Int64, "rows": pl.Int64})
    rows = pl.lit(None, pl.Int64) if counted is None else pl.lit(1, pl.Int64) if not counted else pl.col(counted)
    keys = list(plan.key_columns)
    if plan.gap_us is not None:
        return _sessions(plan, frames, limits, rows)
    state_rows = pl.concat([frame.select(*keys, PANE, rows.alias("rows")) for frame in frames])
    windows = plan.grid.windows(state_rows[PANE].unique()).filter(pl.col(END) > limits.final)
    newest = windows.select(START, END).unique().top_k(NEWEST, by=END)
    placed = state_rows.join(windows.join(newest, on=[START, END], how="semi"), on=PANE).drop(PANE)
    by = [START, END]
    if placed.height > _MOST_COUNTED:
        distinct = placed.group_by(by).agg(pl.lit(None, pl.Int64).alias("keys"))
    else:
        distinct = placed.select(*keys, *by).unique().group_by(by).agg(pl.len().cast(pl.Int64).alias("keys"))
    total = placed.group_by(by).agg(_total())
    return distinct.join(total, on=by).select(*by, "keys", "rows")


def _sessions(plan: WindowPlan, frames: list[pl.DataFrame], limits: Limits, rows: pl.Expr) -> pl.DataFrame:
    """Return the newest sessions, each of which is of one key."""
    keys = list(plan.key_columns)
    parts = pl.concat([frame.select(*keys, START, END, rows.alias("rows")) for frame in frames])
    newest = parts.top_k(NEWEST, by=END).select(keys).unique() if keys else None
    if newest is not None:
        parts = parts.join(newest, on=keys, how="semi", nulls_equal=True)
    sessions = merge_sessions(parts, plan.key_columns).filter(pl.col(END) > limits.final)
    merged = sessions.group_by(*keys, START, END).agg(_total())
    by = [START, END]
    together = merged.group_by(by).agg(pl.len().cast(pl.Int64).alias("keys"), _total())
    return together.top_k(NEWEST, by=END).select(*by, "keys", "rows")


def _total() -> pl.Expr:
    return pl.when(pl.col("rows").null_count() == 0).then(pl.col("rows").sum())


def _row_counts(plan: WindowPlan) -> tuple[str | None, str | None]:
    """Return the columns of state rows and of results that count rows; None: none, "": a state row is a row."""
    if plan.counts_rows:
        return ROWS, ROWS
    if not plan.split.is_incremental:
        counts = (pl.len(), _COUNT.cast(pl.get_index_type()))
        return "", next((e.meta.output_name() for e in plan.split.buffered if any(_is(e, c) for c in counts)), None)
    partial = next((e.meta.output_name() for e in plan.split.partial if _is(e, _COUNT)), None)
    if partial is None:
        return None, None
    column = pl.col(partial).cast(pl.get_index_type())
    return partial, next((e.meta.output_name() for e in plan.split.final if _is(e, column)), None)


def _is(expression: pl.Expr, form: pl.Expr) -> bool:
    return expression.meta.undo_aliases().meta.eq(form)
