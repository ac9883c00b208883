"""State of session windows: *parts* of sessions per key, each a stretch of rows that are never more than a gap apart.

Parts that overlap or touch are one session, but they are put together only when that matters: parts are merged while
runs are compacted, and when the watermark reaches the end of one. Such a part either belongs to a session that has
closed, or to one that goes on in a later part; in that case it is put back and looked at again when the watermark
reaches the end that its session has now (`DUE`). So each part that is put back is paid for by another one that
came in since, and a watermark costs what is due, and a look through the keys of the rest.

Within the allowed lateness, sessions that have fired are retained: a part that touches one continues it, and replaces
its result when the merged session fires.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.core.event_time.row_watermarks import is_marked
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, time_us
from streamlab.operators.windows.columns import DUE, END, FINAL, PANE, START
from streamlab.operators.windows.grids.assign import merge_sessions
from streamlab.operators.windows.runs import Runs
from streamlab.operators.windows.sessions.session_order import in_order
from streamlab.operators.windows.state import Limits, WindowState, row_limits
from streamlab.operators.windows.window_plan import WindowPlan

_SESSION_START, _SESSION_END = own("session_start"), own("session_end")
_KEY, _ROUND, _AT = own("key"), own("round"), own("at")


class SessionState(WindowState):
    """Keeps parts of open sessions, and of fired ones while they take rows."""

    def __init__(self, plan: WindowPlan, frames: Mapping[str, Sequence[pl.DataFrame]]) -> None:
        super().__init__(plan)
        self._open = Runs(DUE, self._merged, frames.get("open", ()))
        self._retained = Runs(DUE, lambda rows: rows, frames.get("retained", ()))

    def add(self, state_rows: pl.DataFrame) -> None:
        """Add parts."""
        self._open.add(state_rows.drop(PANE).with_columns(pl.col(END).alias(DUE)))

    def is_on_time(self, state_rows: pl.DataFrame, limits: Limits) -> bool:
        """Compare the earliest end with the watermark."""
        first = state_rows[END].min()
        return not isinstance(first, int) or first > limits.fire

    def judge(self, rows: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Tell late rows by the sessions that had closed when each came, and when the others are to be added."""
        final = row_limits(self.plan)[1] if is_marked(rows) else pl.lit(limits.final, pl.Int64)
        rows = rows.with_columns(final.alias(FINAL))
        if not is_marked(rows) and not (self._alone(rows)[END] <= limits.final).any():
            return rows, rows.clear()
        alone = self._alone(rows)
        keys = self.keys_of(alone).with_row_index(_KEY)
        known = self._sessions(keys.drop(_KEY))
        sessions = (alone.clear() if known is None else known).select(self.identity).unique()
        judged = in_order(self._numbered(alone, keys), self._numbered(sessions, keys))
        placed = rows.with_columns(pl.Series(_ROUND, judged.rounds))
        is_late = pl.Series(judged.is_late)
        return placed.filter(~is_late), placed.filter(is_late).drop(_ROUND, FINAL)

    def _numbered(self, frame: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the number of their key in place of it."""
        names = list(self.plan.key_columns)
        if not names:
            return frame.with_columns(pl.lit(0, pl.Int64).alias(_KEY))
        numbered = frame.join(keys, on=names, how="left", nulls_equal=True, maintain_order="left")
        return numbered.drop(names).with_columns(pl.col(_KEY).cast(pl.Int64))

    def parts(self, taken: pl.DataFrame) -> Iterator[tuple[pl.DataFrame | None, pl.DataFrame | pl.LazyFrame]]:
        """Yield round after round; before each, the sessions close that its rows must not join."""
        if _ROUND not in taken.columns:
            yield None, self.plan.state_rows(self.plan.small_or_lazy(taken), keyed=True)
            return
        for number, rows in sorted(taken.partition_by(_ROUND, as_dict=True, include_key=False).items()):
            closed = self._close(self._alone(rows)) if number[0] else None
            yield closed, self.plan.state_rows(self.plan.small_or_lazy(rows.drop(FINAL)), keyed=True)

    def _alone(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return keys and limits of rows, and the session that each would be alone."""
        time = time_us(self.plan.index_column)
        return rows.select(
            *self.plan.key_columns, time.alias(START), (time + (self.plan.gap_us or 0)).alias(END), FINAL
        )

    def _close(self, alone: pl.DataFrame) -> pl.DataFrame | None:
        """Close for good the sessions that had ended when a row came which would join them."""
        keys = self.keys_of(alone)
        found = self._together(self._of_keys(self._retained, keys), self._of_keys(self._open, keys))
        retained, open_ = (self._ended(parts, alone) for parts in found)
        for runs, gone in ((self._retained, retained), (self._open, open_)):
            if gone.height:
                runs.replace(partial(self._without, gone=gone))
        if not open_.height:
            return None
        return self.plan.results(_as_sessions(pl.concat([self._of_sessions(retained, open_), open_])))

    def _ended(self, placed: pl.DataFrame, alone: pl.DataFrame) -> pl.DataFrame:
        """Return the parts whose session had ended when a row came which touches it."""
        sessions = placed.select(*self.plan.key_columns, _SESSION_START, _SESSION_END).unique()
        keys = list(self.plan.key_columns)
        paired = sessions.join(alone, on=keys, nulls_equal=True) if keys else sessions.join(alone, how="cross")
        touches = (pl.col(_SESSION_START) <= pl.col(END)) & (pl.col(START) <= pl.col(_SESSION_END))
        return self._of_sessions(placed, paired.filter(touches, pl.col(_SESSION_END) <= pl.col(FINAL)))

    def fire(self, before: Limits, now: Limits) -> pl.DataFrame | None:
        """Close the sessions whose end the watermark has reached."""
        taken = self._open.take_before(_after(now.fire))
        if not taken:
            return None
        due = pl.concat(taken)
        keys = self.keys_of(due)
        retained, due, _ = self._together(self._of_keys(self._retained, keys), due, self._of_keys(self._open, keys))
        has_closed = pl.col(_SESSION_END) <= now.fire
        self._open.add_first(self._stored(due.filter(~has_closed)))
        closed = due.filter(has_closed)
        if not closed.height:
            return None
        if retained.height:
            continued = self._of_sessions(retained, closed)
            closed = pl.concat([continued, closed])
            self._retained.replace(lambda frame: self._without(frame, continued))
        if self.plan.allowed_lateness_us:
            self._retained.add(self._stored(closed))
        return self.plan.results(_as_sessions(closed))

    def refire(self, added: pl.DataFrame, limits: Limits) -> pl.DataFrame | None:
        """Close the sessions that came late as a whole, or that continue one which has fired."""
        return self.fire(limits, limits)

    def open_results(self, added: pl.DataFrame, limits: Limits) -> pl.DataFrame | None:
        """Put together the open sessions that got rows."""
        parts = self._sessions(self.keys_of(added))
        if parts is None:
            return None
        rows = parts.filter(pl.col(END) > limits.fire)
        sessions = rows.select(self.identity).unique()
        mine = _as_sessions(self._within(added, sessions))
        rows = self.among(rows, mine)
        return self.plan.results(rows) if rows.height else None

    def touched(self, state_rows: pl.DataFrame) -> pl.DataFrame:
        """Return keys and times of parts."""
        return state_rows.select(self.identity).unique()

    def forget(self, limits: Limits) -> None:
        """Drop retained sessions that take no more rows; those that an open part continues stay with it."""
        taken = self._retained.take_before(_after(limits.final))
        if taken:
            final = pl.concat(taken)
            final, going_on = self._together(final, self._of_keys(self._open, self.keys_of(final)))
            self._open.add_first(self._stored(self._of_sessions(final, going_on)))

    def goes_on(self, results: pl.DataFrame) -> pl.Series:
        """Look for a session that each result lies in."""
        keys = self.keys_of(results)
        parts = self._sessions(keys)
        if parts is None:
            return super().goes_on(results)
        sessions = parts.select(self.identity).unique()
        numbered = results.select(self.identity).with_row_index(_AT)
        found = self._within(numbered, sessions).select(_AT, _SESSION_END)
        return numbered.join(found, on=_AT, how="left", maintain_order="left")[_SESSION_END]

    def promise(self, watermark: int, limits: Limits) -> int:
        """Return one tick before the earliest start of a session, or the watermark if there is none."""
        if watermark == MAX_TIME_US:
            return watermark
        starts = [start for runs in (self._open, self._retained) if (start := runs.minimum(START)) is not None]
        return max(MIN_TIME_US, min([limits.final, *starts]) - self.plan.tick_us)

    @property
    def frames(self) -> dict[str, tuple[pl.DataFrame, ...]]:
        """Parts of open sessions and of retained ones."""
        return {"open": self._open.frames, "retained": self._retained.frames}

    def _of_keys(self, runs: Runs, keys: pl.DataFrame) -> pl.DataFrame | None:
        """Return all parts with one of the keys; None when there are no parts at all."""
        frames = [self.of_keys(frame, keys) for frame in runs.frames]
        return pl.concat(frames) if frames else None

    def _sessions(self, keys: pl.DataFrame) -> pl.DataFrame | None:
        """Return all parts of the keys under their sessions' start and end; None when there are no parts at all."""
        kept = [self._of_keys(self._retained, keys), self._of_keys(self._open, keys)]
        known = [parts for parts in kept if parts is not None]
        return _as_sessions(pl.concat(self._together(*known))) if known else None

    def _together(self, *groups: pl.DataFrame | None) -> list[pl.DataFrame]:
        """Return each group of parts with the start and the end of the session that each part is in, all together."""
        known = next(group for group in groups if group is not None)
        frames = [known.head(0) if group is None else group for group in groups]
        sessions = merge_sessions(pl.concat([frame.select(self.identity) for frame in frames]), self.plan.key_columns)
        placed: list[pl.DataFrame] = []
        at = 0
        for frame in frames:
            mine = sessions.slice(at, frame.height)
            placed.append(frame.with_columns(mine[START].alias(_SESSION_START), mine[END].alias(_SESSION_END)))
            at += frame.height
        return placed

    def _of_sessions(self, parts: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
        """Return the parts that are in one session with some other part."""
        session = [*self.plan.key_columns, _SESSION_START, _SESSION_END]
        return parts.join(others, on=session, how="semi", nulls_equal=True, maintain_order="left")

    def _without(self, stored: pl.DataFrame, gone: pl.DataFrame) -> pl.DataFrame:
        return stored.join(gone, on=self.identity, how="anti", nulls_equal=True, maintain_order="left")

    def _within(self, parts: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
        """Return the parts that lie in one of the sessions, with that session's start and end."""
        named = sessions.rename({START: _SESSION_START, END: _SESSION_END})
        keys = list(self.plan.key_columns)
        paired = parts.join(named, on=keys, nulls_equal=True) if keys else parts.join(named, how="cross")
        return paired.filter(pl.col(_SESSION_START) <= pl.col(START), pl.col(END) <= pl.col(_SESSION_END))

    def _stored(self, placed: pl.DataFrame) -> pl.DataFrame:
        """Return parts to keep until their session's end; made one per session when they are partial aggregates."""
        due = placed.with_columns(pl.col(_SESSION_END).alias(DUE))
        if not self.plan.split.is_incremental:
            return due.drop(_SESSION_START, _SESSION_END)
        return self.plan.merged(_as_sessions(due), START)

    def _merged(self, parts: pl.DataFrame) -> pl.DataFrame:
        """Return fewer parts that stand for the same rows."""
        if not self.plan.split.is_incremental:
            return parts
        return self.plan.merged(merge_sessions(parts, self.plan.key_columns), START)


def _as_sessions(placed: pl.DataFrame) -> pl.DataFrame:
    """Return parts with their session's start and end in place of their own."""
    wide = placed.with_columns(pl.col(_SESSION_START).alias(START), pl.col(_SESSION_END).alias(END))
    return wide.drop(_SESSION_START, _SESSION_END)


def _after(limit: int) -> int:
    return min(limit, MAX_TIME_US - 1) + 1
