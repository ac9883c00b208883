"""What an updating window aggregation has given so far, so that later results can replace it exactly.

Results are kept rather than computed again: a float sum need not come out the same in another order of merging, and a
retraction must equal the row that it takes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from streamlab.core.changelog import ROW_KIND, RowKind
from streamlab.core.column_names.own_columns import own
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.operators.windows.columns import DUE, END, ROWS, START
from streamlab.operators.windows.grids.assign import merge_sessions
from streamlab.operators.windows.runs import Runs
from streamlab.operators.windows.window_plan import WindowPlan

_AT = own("at")
_NEW_START, _NEW_END = own("new_start"), own("new_end")


class CurrentResults:
    """The current result of every window that has one and may still change.

    A session's result replaces those of all sessions that lie in it; on a grid a window's result replaces its own.
    """

    def __init__(self, plan: WindowPlan, frames: Sequence[pl.DataFrame] = ()) -> None:
        self._plan = plan
        self._keys = list(plan.key_columns)
        self._runs = Runs(DUE, self._current, frames)

    @property
    def frames(self) -> tuple[pl.DataFrame, ...]:
        """The results, as immutable frames."""
        return self._runs.frames

    def forget(self, final: int, goes_on: Callable[[pl.DataFrame], pl.Series]) -> None:
        """Drop the results of windows that end at or before `final`.

        `goes_on` says until when the window of each result goes on, null where it does not: an early result of a
        session ends before the session does.
        """
        taken = self._runs.take_before(min(final, MAX_TIME_US - 1) + 1)
        if taken:
            results = pl.concat(taken)
            self._runs.add_first(results.with_columns(goes_on(results).alias(DUE)).drop_nulls(DUE))

    def rows_given(self, results: pl.DataFrame) -> pl.Series:
        """Return how many input rows the results that each of `results` would replace stand for."""
        new = results.with_row_index(_AT)
        old = self._replaced(new)
        if old is None:
            return pl.zeros(results.height, pl.Int64, eager=True)
        counted = new.select(_AT).join(old.group_by(_AT).agg(pl.col(ROWS).sum()), on=_AT, how="left")
        return counted.sort(_AT)[ROWS].fill_null(0)

    def changes(self, results: pl.DataFrame) -> pl.DataFrame:
        """Return what turns the results given so far into those that hold with `results`, and take note of them.

        Columns are those of `results` and the row kind; each retraction stands before what replaces it. A result that
        did not change is not given again.
        """
        new = results.with_row_index(_AT)
        old = self._replaced(new)
        self._runs.add(results.with_columns(pl.col(END).alias(DUE)))
        if old is None or not old.height:
            return results.with_columns(pl.lit(int(RowKind.INSERT), pl.Int8).alias(ROW_KIND))
        unchanged = self._unchanged(new, old)
        same_start = old.join(new, on=[_AT, START], how="semi")
        is_update = pl.col(_AT).is_in(same_start[_AT].unique().to_list()) & pl.col(_AT).is_first_distinct()
        gone = old.join(same_start.select(_AT, END, START), on=[_AT, START, END], how="anti")
        parts = [
            gone.with_columns(_kind(RowKind.DELETE)),
            same_start.with_columns(_kind(RowKind.UPDATE_BEFORE)),
            new.with_columns(
                pl.when(is_update).then(_kind(RowKind.UPDATE_AFTER)).otherwise(_kind(RowKind.INSERT)).alias(ROW_KIND)
            ),
        ]
        every = pl.concat([part.select(*new.columns, ROW_KIND) for part in parts])
        return every.filter(~pl.col(_AT).is_in(unchanged)).sort(_AT, maintain_order=True).drop(_AT)

    def _replaced(self, new: pl.DataFrame) -> pl.DataFrame | None:
        """Return the current results that `new` ones replace, each with the number of the one that does."""
        ends, starts = new[END], new[START]
        low = starts.min() if self._plan.gap_us else ends.min()
        high = ends.max()
        if not isinstance(low, int) or not isinstance(high, int):
            return None
        found = self._runs.between(low, high + 1)
        if not found:
            return None
        windows = new.select(_AT, *self._keys, pl.col(START).alias(_NEW_START), pl.col(END).alias(_NEW_END))
        near = pl.concat([self._of_windows(frame, windows) for frame in found])
        current = self._current(near.drop(_AT)) if near.height else None
        return None if current is None else self._of_windows(current, windows)

    def _of_windows(self, results: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
        if not self._plan.gap_us:
            on = [*self._keys, _NEW_START, _NEW_END]
            left = [*self._keys, START, END]
            return results.join(windows, left_on=left, right_on=on, nulls_equal=True, maintain_order="left")
        how = {"on": self._keys, "nulls_equal": True} if self._keys else {"how": "cross"}
        paired = results.join(windows, maintain_order="left", **how)
        inside = paired.filter(pl.col(START) >= pl.col(_NEW_START), pl.col(END) <= pl.col(_NEW_END))
        return inside.drop(_NEW_START, _NEW_END)

    def _unchanged(self, new: pl.DataFrame, old: pl.DataFrame) -> list[int]:
        """Return the numbers of the new results that equal the one that they replace, as far as users see."""
        alone = old.filter(~pl.col(_AT).is_duplicated())
        seen = [name for name in new.columns if name not in {_AT, END, ROWS, *self._keys}]
        seen += [END] * self._plan.include_boundaries
        others = new[[_AT, *seen]]
        others.columns = [_AT, *(own(f"new_{name}") for name in seen)]
        both = alone.join(others, on=_AT)
        equal = pl.all_horizontal(pl.col(name).eq_missing(pl.col(own(f"new_{name}"))) for name in seen)
        return both.filter(equal)[_AT].to_list()

    def _current(self, results: pl.DataFrame) -> pl.DataFrame:
        """Return the latest result of each window, or of each session: there the widest, since sessions only grow."""
        identity = [*self._keys, START, END]
        if not self._plan.gap_us:
            return results.unique(identity, keep="last", maintain_order=True)
        merged = merge_sessions(results.select(identity), self._keys).with_row_index(_AT)
        by_width = merged.with_columns(results.select(width=pl.col(END) - pl.col(START))).sort("width", _AT)
        return results[by_width.unique(identity, keep="last", maintain_order=True)[_AT].sort()]


def _kind(kind: RowKind) -> pl.Expr:
    return pl.lit(int(kind), pl.Int8).alias(ROW_KIND)
