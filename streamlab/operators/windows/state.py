"""What the window operator asks of its state, which differs between windows on a grid and sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from streamlab.core.event_time.row_watermarks import ROW_WATERMARK
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.operators.windows.columns import END, START
from streamlab.operators.windows.window_plan import WindowPlan

_ROOM_US = 2**61


@dataclass(frozen=True)
class Limits:
    """A watermark, as the ends of windows that it reaches.

    Attributes
    ----------
    fire : int
        A window has closed when its end is not after this.
    final : int
        A window takes no more rows when its end is not after this.
    """

    fire: int = MIN_TIME_US
    final: int = MIN_TIME_US

    @classmethod
    def at(cls, watermark: int, plan: WindowPlan) -> Limits:
        """Return the limits at a watermark."""
        if watermark in {MIN_TIME_US, MAX_TIME_US}:
            return cls(watermark, watermark)
        closed = watermark + plan.reach_us
        return cls(min(closed, MAX_TIME_US), max(closed - plan.allowed_lateness_us, MIN_TIME_US))


def row_limits(plan: WindowPlan) -> tuple[pl.Expr, pl.Expr]:
    """Return `Limits.fire` and `Limits.final` at the watermark that each row brings along (Int64, µs)."""
    # Far from the ends of time, where a tick and a lateness have room; no window ends there.
    closed = pl.col(ROW_WATERMARK).clip(MIN_TIME_US + _ROOM_US, MAX_TIME_US - _ROOM_US) + plan.reach_us
    return closed, closed - plan.allowed_lateness_us


class WindowState(ABC):
    """The state rows of all windows that may still change. Results are as :meth:`WindowPlan.results` gives them."""

    def __init__(self, plan: WindowPlan) -> None:
        self.plan = plan
        self.identity = [*plan.key_columns, START, END]

    @abstractmethod
    def add(self, state_rows: pl.DataFrame) -> None:
        """Add state rows."""

    @abstractmethod
    def is_on_time(self, state_rows: pl.DataFrame, limits: Limits) -> bool:
        """Return whether no state row is in a window that has closed."""

    @abstractmethod
    def judge(self, rows: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the keyed rows that some window still takes, and those that are late for all of theirs.

        Rows that bring their watermarks along are judged by these, which are nowhere below that of `limits`. What is
        taken has the columns that :meth:`parts` asks for beside its own.
        """

    @abstractmethod
    def parts(self, taken: pl.DataFrame) -> Iterator[tuple[pl.DataFrame | None, pl.DataFrame | pl.LazyFrame]]:
        """Yield state rows of rows that :meth:`judge` took, to be added one part after the other.

        Before each part stand the results of the windows that had closed before its rows came, if it needs that.
        """

    @abstractmethod
    def fire(self, before: Limits, now: Limits) -> pl.DataFrame | None:
        """Return results of the windows that closed between two watermarks."""

    @abstractmethod
    def refire(self, added: pl.DataFrame, limits: Limits) -> pl.DataFrame | None:
        """Return results of the windows that had closed before the state rows `added`, already in, came to them."""

    @abstractmethod
    def open_results(self, added: pl.DataFrame, limits: Limits) -> pl.DataFrame | None:
        """Return results of the open windows that the state rows `added`, already in, belong to."""

    @abstractmethod
    def touched(self, state_rows: pl.DataFrame) -> pl.DataFrame:
        """Return what :meth:`open_results` must know of state rows, with nothing twice."""

    @abstractmethod
    def forget(self, limits: Limits) -> None:
        """Drop what no window needs any more."""

    def goes_on(self, results: pl.DataFrame) -> pl.Series:
        """Return the end (Int64, µs) of the session, still kept, that each result is of; null where there is none."""
        return pl.repeat(None, results.height, dtype=pl.Int64, eager=True)

    @abstractmethod
    def promise(self, watermark: int, limits: Limits) -> int:
        """Return a watermark that no later result's start is behind, as long as rows are on time."""

    @property
    @abstractmethod
    def frames(self) -> dict[str, tuple[pl.DataFrame, ...]]:
        """The state, as immutable frames by name."""

    def keys_of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the distinct keys."""
        return frame.select(self.plan.key_columns).unique()

    def of_keys(self, frame: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
        """Return the rows whose key is among `keys`; all of them when there are no key columns."""
        if not self.plan.key_columns:
            return frame
        return frame.join(keys, on=self.plan.key_columns, how="semi", nulls_equal=True, maintain_order="left")

    def among(self, frame: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows whose key, start and end are those of one of the windows."""
        return frame.join(windows, on=self.identity, how="semi", nulls_equal=True, maintain_order="left")
