"""One window aggregation as a value that its two operators share, and the queries that both are made of.

Rows travel in two forms. *Keyed rows* are the input's columns and the keys, as ``__sl_key_<name>``; *state rows* are
the keys, where they are in time (`PANE`, or `START`, `END` and `DUE` for sessions), and either partial aggregates or,
when the aggregation is buffered, the columns that it reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from streamlab.core.aggregation import AggregateSplit
from streamlab.core.column_names.own_columns import key_column
from streamlab.core.errors import PlanError, explained
from streamlab.core.event_time.time import Duration, from_us, tick_us, time_us
from streamlab.core.event_time.windows import EveryDuration, EveryRows, SessionWindows, Trigger, Windows
from streamlab.operators.windows.columns import DUE, END, PANE, ROWS, START
from streamlab.operators.windows.grids.assign import gap_us, grid_of
from streamlab.operators.windows.grids.grid import Grid

_MILLISECOND_US = 1000
_STREAMING_ROWS = 20_000
"""From how many rows on Polars' streaming engine is the faster one."""


@dataclass(frozen=True)
class WindowPlan:
    """What is aggregated, by what, over which windows, and when it is given.

    Attributes
    ----------
    index_column : str
        The event-time column.
    windows : Windows
        Hopping, cumulative or session windows.
    keys : tuple[pl.Expr, ...]
        One output column each; may be empty.
    split : AggregateSplit
        The aggregations.
    input_schema : pl.Schema
        Columns of the rows that come in.
    include_boundaries : bool
        Whether results carry ``_lower_boundary`` and ``_upper_boundary``.
    allowed_lateness_us : int
        How long after its end a window still takes rows.
    trigger : Trigger | None
        When early results are given.

    Raises
    ------
    PlanError
        If the windows cannot be assigned on this column.
    """

    index_column: str
    windows: Windows
    keys: tuple[pl.Expr, ...] = field(repr=False)
    split: AggregateSplit = field(repr=False)
    input_schema: pl.Schema = field(repr=False)
    include_boundaries: bool = False
    allowed_lateness_us: int = 0
    trigger: Trigger | None = None

    def __post_init__(self) -> None:
        if len(self.key_names) != len(self.keys):
            raise PlanError(explained("window keys", needed="one column per key", got=", ".join(self.key_names)))
        if isinstance(self.windows, SessionWindows):
            gap_us(self.windows)
        for name in ("every", "period", "step", "gap"):
            length = getattr(self.windows, name, None)
            if isinstance(length, Duration):
                self._check_length(name, length)
        trigger = self.trigger
        if isinstance(trigger, EveryDuration) and trigger.interval.fixed_us("trigger") <= 0:
            raise PlanError(explained("trigger", needed="an interval longer than 0", got=repr(trigger.interval.text)))
        if isinstance(trigger, EveryRows) and trigger.rows < 1:
            raise PlanError(explained("trigger", needed="at least one row", got=str(trigger.rows)))

    def _check_length(self, name: str, length: Duration) -> None:
        unit = "1ms" if self.tick_us == _MILLISECOND_US else "1us"
        if length.text.startswith("-") or length.us == 0 or "ns" in length.text:
            raise PlanError(explained(name, needed=f"a duration of at least {unit}", got=repr(length.text)))
        if length.us is not None and unit == "1ms" and length.us % _MILLISECOND_US:
            needed = f"whole milliseconds, the unit of {self.index_column!r}"
            raise PlanError(explained(name, needed=needed, got=repr(length.text)))

    @cached_property
    def key_names(self) -> tuple[str, ...]:
        """Names of the keys in results."""
        return tuple(pl.LazyFrame(schema=self.input_schema).select(*self.keys).collect_schema().names())

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """Names of the keys in keyed rows and state rows."""
        return tuple(map(key_column, self.key_names))

    @property
    def index_dtype(self) -> pl.DataType:
        """The dtype of the event-time column."""
        return self.input_schema[self.index_column]

    @property
    def tick_us(self) -> int:
        """One tick of event time."""
        return tick_us(self.index_dtype)

    @cached_property
    def grid(self) -> Grid:
        """The windows that do not depend on the data.

        Raises
        ------
        TypeError
            For session windows.
        """
        if isinstance(self.windows, SessionWindows):
            text = "session windows have no grid"
            raise TypeError(text)
        return grid_of(self.windows, self.index_dtype)

    @property
    def gap_us(self) -> int | None:
        """The gap of session windows, else None."""
        return gap_us(self.windows) if isinstance(self.windows, SessionWindows) else None

    @property
    def reach_us(self) -> int:
        """How far beyond the watermark windows close that end there.

        A window on a grid closes with the last tick before its end. A session goes on for one tick more: a row at that
        tick is on time, and when it is exactly a gap after the one before it, it joins.
        """
        return self.tick_us if self.gap_us is None else 0

    @property
    def updating(self) -> bool:
        """Whether a window can give more than one result."""
        return self.trigger is not None or self.allowed_lateness_us > 0

    @property
    def counts_rows(self) -> bool:
        """Whether state rows carry how many input rows they stand for."""
        return isinstance(self.trigger, EveryRows)

    def keyed(self, rows: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame | pl.LazyFrame:
        """Return keyed rows: input rows with their keys beside them."""
        return rows.with_columns(*self._named_keys())

    @cached_property
    def pane(self) -> pl.Expr:
        """The expression for the pane of an input row (Int64, µs); for sessions, its multiple of the gap.

        Rows of one such stretch are closer than the gap, so they are always in one session.
        """
        gap = self.gap_us
        if gap is None:
            return self.grid.pane(self.index_column)
        return time_us(self.index_column) - time_us(self.index_column) % gap

    def state_rows(self, rows: pl.DataFrame | pl.LazyFrame, *extra: str, keyed: bool) -> pl.DataFrame | pl.LazyFrame:
        """Return state rows of input rows, with `PANE`; rows in no window are left out, but for those without time.

        Of the latter `PANE` is null. Rows that differ in `extra` columns are not combined. `keyed` says whether the
        key columns are there already.
        """
        keys = [pl.col(name) for name in self.key_columns] if keyed else self._named_keys()
        keys += map(pl.col, extra)
        gap = self.gap_us
        time = time_us(self.index_column)
        pane = self.pane.alias(PANE)
        if gap is None and self.grid.has_gaps:
            rows = rows.with_columns(pane).filter(pl.col(PANE).is_not_null() | time.is_null())
            pane = pl.col(PANE)
        if self.split.is_incremental:
            own = [pl.len().cast(pl.Int64).alias(ROWS)] if self.counts_rows else []
            if gap is not None:
                own += [time.min().alias(START), (time.max() + gap).alias(END)]
            return rows.group_by(*keys, pane).agg(*own, *self.split.partial)
        own = [pl.lit(1, pl.Int64).alias(ROWS)] if self.counts_rows else []
        if gap is not None:
            own += [time.alias(START), (time + gap).alias(END)]
        return rows.select(*keys, pane, *own, *self._buffered_columns())

    def collected(self, state_rows: pl.DataFrame | pl.LazyFrame, *, large: bool) -> pl.DataFrame:
        """Run a query of :meth:`state_rows`; order within groups is kept where results depend on it."""
        if isinstance(state_rows, pl.DataFrame):
            return state_rows
        streaming = large and self.split.is_incremental and not self.split.ordered
        return state_rows.collect(engine="streaming" if streaming else "in-memory")

    def merged(self, state_rows: pl.DataFrame, *by: str) -> pl.DataFrame:
        """Return state rows with those of equal keys and `by` made one, in no order; buffered rows stay as they are."""
        if not self.split.is_incremental:
            return state_rows
        names = set(state_rows.columns)
        times = [pl.col(START).min()] * (START in names and START not in by)
        times += [pl.col(name).max() for name in (END, DUE) if name in names]
        rows = [pl.col(ROWS).sum()] * self.counts_rows
        merged = state_rows.group_by(*self.key_columns, *by).agg(*times, *rows, *self.split.merge)
        return merged.select(state_rows.columns)

    def results(self, state_rows: pl.DataFrame) -> pl.DataFrame:
        """Return a row per key and window of state rows that carry their window's start and end.

        Columns: keys, `START`, `END`, perhaps `ROWS`, and the user's aggregates. They are sorted by end,
        start and keys, so that equal input gives equal frames.
        """
        by = [*self.key_columns, START, END]
        rows = [pl.col(ROWS).sum()] * self.counts_rows
        if self.split.is_incremental:
            merged = state_rows.group_by(by).agg(*rows, *self.split.merge)
            found = merged.select(*by, *([ROWS] * self.counts_rows), *self.split.final)
        else:
            in_order = state_rows.sort(self.index_column, maintain_order=True)
            found = in_order.group_by(by).agg(*rows, *self.split.buffered)
        return found.sort(END, START, *self.key_columns)

    def output(self, results: pl.DataFrame, *extra: str) -> pl.DataFrame:
        """Return results under the user's names, with the columns in Polars' order, then `extra` ones as they are."""
        columns = [pl.col(carried).alias(name) for carried, name in zip(self.key_columns, self.key_names, strict=True)]
        if self.include_boundaries:
            dtype = pl.Datetime("us") if self.index_dtype == pl.Date else self.index_dtype
            columns += [
                from_us(pl.col(START), dtype).alias("_lower_boundary"),
                from_us(pl.col(END), dtype).alias("_upper_boundary"),
            ]
        columns.append(from_us(pl.col(START), self.index_dtype).alias(self.index_column))
        own = {*self.key_columns, START, END, ROWS, *extra}
        return results.select(*columns, *(name for name in results.columns if name not in own), *extra)

    def small_or_lazy(self, frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame | pl.LazyFrame:
        """Return rows in the form in which queries on them are cheapest: no optimiser pays for itself on a few rows."""
        return frame.lazy() if self.is_large(frame) else frame

    def is_large(self, frame: pl.DataFrame | pl.LazyFrame) -> bool:
        """Return whether the streaming engine is worth starting for a batch."""
        return isinstance(frame, pl.LazyFrame) or frame.height >= _STREAMING_ROWS

    def _named_keys(self) -> list[pl.Expr]:
        return [key.alias(name) for key, name in zip(self.keys, self.key_columns, strict=True)]

    def _buffered_columns(self) -> list[str]:
        wanted = {self.index_column, *self.split.columns}
        return [name for name in self.input_schema if name in wanted]
