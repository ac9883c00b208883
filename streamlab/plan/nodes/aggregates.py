"""Aggregates: over the whole stream, and in windows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import ClassVar

import polars as pl

from streamlab.core.aggregation import AggregateSplit
from streamlab.core.column_names.own_columns import is_own
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import CumulativeWindows, Trigger, Windows
from streamlab.plan.lengths import span_text
from streamlab.plan.nodes.base import Unary
from streamlab.plan.nodes.words import (
    LONGEST_TITLE,
    aggregates_text,
    by_text,
    former_columns,
    keys_text,
    trigger_text,
    windows_text,
    windows_title,
)

_UPPER = "_upper_boundary"
_CALL = re.compile(r'^col\("(?P<column>[^"]+)"\)\.(?P<function>\w+)\(.*\)$')


@dataclass(frozen=True, eq=False)
class GroupAggregate(Unary):
    """``group_by(keys).agg(aggregates)`` over everything so far: one row per key, given as a changelog.

    Without keys it is the aggregate of the whole stream, one row.
    """

    keys: tuple[pl.Expr, ...]
    split: AggregateSplit
    aggregates: tuple[pl.Expr, ...] = field(kw_only=True, repr=False, default=())
    """What the user wrote, one expression for each result column where that is known."""

    @cached_property
    def updating(self) -> bool:
        """Always: a result row is replaced when more rows come."""
        return True

    keeps_state: ClassVar[bool] = True

    def describe(self) -> str:
        """Return the keys."""
        return f"over the whole stream, {keys_text(self.keys)}"

    def details(self) -> Sequence[str]:
        """Return each aggregate with how it is computed."""
        kept = [] if self.split.is_incremental else ["rows are kept for good"]
        return [*aggregates_text(self.split.reports, self.aggregates), *kept]

    @property
    def title(self) -> str:
        """The aggregates, or their number, and the keys."""
        reports = self.split.reports
        exact = len(self.aggregates) == len(reports)
        said = [
            _aggregate_title(self.aggregates[at] if exact else None, report.name)
            for at, report in enumerate(reports)
            if not is_own(report.name)
        ]
        keys = by_text(self.keys) or " of all rows"
        whole = f"{', '.join(said)}{keys}"
        if not said:
            return f"keys{keys}"
        return whole if len(whole) <= LONGEST_TITLE or len(said) == 1 else f"{len(said)} aggregates{keys}"

    @property
    def traits(self) -> list[object]:
        """The names of the keys and of the result columns."""
        return [self.step, [key.meta.output_name() for key in self.keys], former_columns(self.schema)]

    @property
    def row_key(self) -> tuple[str, ...] | None:
        """The keys."""
        return tuple(key.meta.output_name() for key in self.keys)


def _aggregate_title(expression: pl.Expr | None, name: str) -> str:
    """Return an aggregation in words: ``mean of delay``; one that is more than a call, by its column's name."""
    if expression is None:
        return name
    text = str(expression.meta.undo_aliases())
    if text == "len()":
        return "count"
    called = _CALL.match(text)
    return f"{called['function']} of {called['column']}" if called and "(" not in called["column"] else name


@dataclass(frozen=True, eq=False)
class WindowAggregate(Unary):
    """Aggregates per key and window, given when the watermark closes the window."""

    index_column: str
    windows: Windows
    keys: tuple[pl.Expr, ...]
    split: AggregateSplit
    include_boundaries: bool = False
    allowed_lateness_us: int = 0
    trigger: Trigger | None = None
    aggregates: tuple[pl.Expr, ...] = field(kw_only=True, repr=False, default=())
    """What the user wrote, one expression for each result column where that is known."""

    @cached_property
    def updating(self) -> bool:
        """Only when a window can give more than one result."""
        return self.trigger is not None or self.allowed_lateness_us > 0

    keeps_state: ClassVar[bool] = True

    def describe(self) -> str:
        """Return the windows and the keys."""
        return f"{windows_text(self.windows)} on {self.index_column}, {keys_text(self.keys)}"

    def details(self) -> Sequence[str]:
        """Return each aggregate with how it is computed, and when results come early or are updated."""
        lines = aggregates_text(self.split.reports, self.aggregates)
        if not self.split.is_incremental:
            lines.append("rows are kept until their window is over")
        if self.trigger is not None:
            lines.append(f"early results {trigger_text(self.trigger)}")
        if self.allowed_lateness_us:
            lines.append(f"late rows update results for {span_text(self.allowed_lateness_us)} more")
        return lines

    @property
    def title(self) -> str:
        """The windows and the keys."""
        return windows_title(self.windows) + by_text(self.keys)

    @property
    def traits(self) -> list[object]:
        """The time column, the windows, and the names of the keys and of the result columns."""
        windows = self.windows
        lengths = [getattr(windows, one.name) for one in fields(windows)]
        said = [windows.kind, *(length.text for length in lengths if isinstance(length, Duration))]
        keys = [key.meta.output_name() for key in self.keys]
        return [self.step, self.index_column, said, keys, former_columns(self.schema)]

    @property
    def row_key(self) -> tuple[str, ...] | None:
        """The keys and the start of the window; of windows that have one start the end as well, if it is given."""
        keys = (*(key.meta.output_name() for key in self.keys), self.index_column)
        if not isinstance(self.windows, CumulativeWindows):
            return keys
        return (*keys, _UPPER) if self.include_boundaries else None
