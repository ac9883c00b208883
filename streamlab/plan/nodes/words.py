"""The words in which nodes say what they are, in ``explain()`` and in titles of steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from streamlab.core.aggregation import AggregateReport
from streamlab.core.column_names.former_names import former
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import (
    CumulativeWindows,
    EveryDuration,
    HoppingWindows,
    SessionWindows,
    Trigger,
    Windows,
)
from streamlab.plan.lengths import length_text

LONGEST_TITLE = 40
"""Characters of a title, without the number that tells it from others."""
_MAX_TEXT = 160
_UNITS = {"m": "min", "w": "weeks", "mo": "months", "q": "quarters", "y": "years"}
_PART = re.compile(r"(\d+)([a-z]+)")


def windows_text(windows: Windows) -> str:
    """Return windows with all that they are made by."""
    if isinstance(windows, SessionWindows):
        return f"sessions with gaps over {length_text(windows.gap)}"
    offset = f", offset {length_text(windows.offset)}" if windows.offset.us != 0 else ""
    if isinstance(windows, CumulativeWindows):
        return f"cumulative windows growing by {length_text(windows.step)} to {length_text(windows.every)}{offset}"
    if isinstance(windows, HoppingWindows) and windows.kind == "hopping":
        return f"hopping windows of {length_text(windows.period)} every {length_text(windows.every)}{offset}"
    return f"tumbling windows of {length_text(windows.every)}{offset}"


def windows_title(windows: Windows) -> str:
    """Return windows in a few words: ``10 min windows every 1 min``."""
    if isinstance(windows, SessionWindows):
        return f"sessions with {_length(windows.gap)} gaps"
    if isinstance(windows, CumulativeWindows):
        return f"windows growing to {_length(windows.every)}"
    if isinstance(windows, HoppingWindows) and windows.kind == "hopping":
        return f"{_length(windows.period)} windows every {_length(windows.every)}"
    return f"{_length(windows.every)} windows"


def trigger_text(trigger: Trigger) -> str:
    """Return how often early results come."""
    return (
        f"every {length_text(trigger.interval)}"
        if isinstance(trigger, EveryDuration)
        else f"every {trigger.rows:,} rows"
    )


def keys_text(keys: Sequence[pl.Expr]) -> str:
    """Return keys, each by its name if it is a column."""
    if not keys:
        return "no keys: one subtask"
    return f"keys {', '.join(_name(key) for key in keys)}"


def _name(key: pl.Expr) -> str:
    name = key.meta.output_name()
    return name if key.meta.eq(pl.col(name)) else str(key)


def behind_text(delay: Duration) -> str:
    """Return how far a watermark is behind."""
    return f"watermark {length_text(delay)} behind"


def value_text(value: Any) -> str:
    """Return an argument as it was written."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return str(value) if isinstance(value, pl.Expr) else repr(value)


def short(text: str) -> str:
    """Return a text in one line, cut when it is long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _MAX_TEXT else flat[: _MAX_TEXT - 1] + "…"


def aggregates_text(reports: Sequence[AggregateReport], aggregates: Sequence[pl.Expr]) -> list[str]:
    """Return a line for each aggregate: its column, what was written if that is known, and how it is computed."""
    written = (
        [short(str(e.meta.undo_aliases())) for e in aggregates]
        if len(aggregates) == len(reports)
        else [""] * len(reports)
    )
    return [
        f"{report.name}: {text}  {'[incremental]' if report.incremental else f'[buffered: {report.reason}]'}"
        for report, text in zip(reports, written, strict=True)
    ]


def equal_text(left: Sequence[pl.Expr], right: Sequence[pl.Expr]) -> str:
    """Return what must be equal in a join."""
    mine, theirs = (", ".join(map(str, keys)) for keys in (left, right))
    return mine if mine == theirs else f"{mine} = {theirs}"


def former_columns(schema: pl.Schema) -> list[str]:
    """Return result columns, those of ours as they have always been called in ids of steps."""
    return list(map(former, schema.names()))


def by_text(keys: Sequence[pl.Expr]) -> str:
    """Return keys as the end of a title; nothing without keys."""
    return f" by {listed([key.meta.output_name() for key in keys])}" if keys else ""


def listed(names: Sequence[str]) -> str:
    """Return names in words, the first of many."""
    if len(names) > 2:  # noqa: PLR2004 - a title is short
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return " and ".join(names)


def _length(duration: Duration) -> str:
    """Return a length of time with its units in words.

    >>> [_length(Duration.parse(text)) for text in ("1m", "1h30m", "10s", "1mo", "2w")]
    ['1 min', '1 h 30 min', '10 s', '1 month', '2 weeks']
    """
    parts = _PART.findall(length_text(duration))
    return " ".join(f"{number} {_unit(unit, number)}" for number, unit in parts)


def _unit(unit: str, number: str) -> str:
    word = _UNITS.get(unit, unit)
    return word.removesuffix("s") if number == "1" and unit in _UNITS else word
