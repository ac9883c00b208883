"""What users see of steps: a few words that say what a step does, such as ``1 min windows by sensor``.

A title is not what state is found by: that is a step's id (`streamlab.plan.step_names`), which stays the same when a
title is worded in another way. A name that a user gave is both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import singledispatch

import polars as pl

from streamlab.core.column_names.own_columns import is_own
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows, SessionWindows, Windows
from streamlab.plan import nodes
from streamlab.plan.lengths import length_text

LONGEST_TITLE = 40
"""Characters of a title, without the number that tells it from others."""
_UNITS = {"m": "min", "w": "weeks", "mo": "months", "q": "quarters", "y": "years"}
_PART = re.compile(r"(\d+)([a-z]+)")
_CALL = re.compile(r'^col\("(?P<column>[^"]+)"\)\.(?P<function>\w+)\(.*\)$')


def step_titles(plan: nodes.Node, ids: Mapping[int, str]) -> dict[int, str]:
    """Return the titles of the steps that have more to say than their method, by the ids of their nodes.

    Parameters
    ----------
    plan
        The query.
    ids
        The ids of its steps that keep state or were given a name (`step_names`). A step that is called after its method
        alone has its id as its title.
    """
    every = list(plan.walk())
    own = {id(node): ids[id(node)] for node in every if id(node) in ids and _speaks(node)}
    count = Counter(dict.fromkeys(own.values(), 1))
    titles = dict(own)
    for node in every:
        said = "" if id(node) in own else _shortened(_title(node))
        if not said:
            continue
        count[said] += 1
        titles[id(node)] = said if count[said] == 1 else f"{said} #{count[said]}"
    return titles


def _speaks(node: nodes.Node) -> bool:
    """Return whether a step's id is a name that somebody gave."""
    return node.is_named or isinstance(node, nodes.Scan)


@singledispatch
def _title(_: nodes.Node) -> str:
    """Return what a step does; empty when its method says it."""
    return ""


@_title.register
def _(node: nodes.WindowAggregate) -> str:
    return _windows(node.windows) + _by(node.keys)


@_title.register
def _(node: nodes.GroupAggregate) -> str:
    shown = [report for report in node.split.reports if not is_own(report.name)]
    exact = len(node.aggregates) == len(node.split.reports)
    said = [
        _aggregate(node.aggregates[at] if exact else None, report.name)
        for at, report in enumerate(node.split.reports)
        if not is_own(report.name)
    ]
    keys = _by(node.keys) or " of all rows"
    whole = f"{', '.join(said)}{keys}"
    if not shown:
        return f"keys{keys}"
    return whole if len(whole) <= LONGEST_TITLE or len(said) == 1 else f"{len(said)} aggregates{keys}"


@_title.register
def _(node: nodes.Head) -> str:
    return f"first {node.n:,} rows"


@_title.register
def _(node: nodes.AssignWatermarks) -> str:
    return f"watermarks of {node.column}"


@_title.register
def _(node: nodes.StaticJoin) -> str:
    names = [key.meta.output_name() for key in node.left_on]
    return f"{node.how} join on {_listed(names)}"


@_title.register
def _(node: nodes.StreamJoin) -> str:
    return f"{node.how} join on {_listed([key.meta.output_name() for key in node.left_on])}"


@_title.register
def _(node: nodes.MapBatches) -> str:
    name = str(getattr(node.function, "__name__", type(node.function).__name__))
    return node.step if name in {"<lambda>", node.step} else f"{node.step} {name}"


def _windows(windows: Windows) -> str:
    if isinstance(windows, SessionWindows):
        return f"sessions with {_length(windows.gap)} gaps"
    if isinstance(windows, CumulativeWindows):
        return f"windows growing to {_length(windows.every)}"
    if isinstance(windows, HoppingWindows) and windows.kind == "hopping":
        return f"{_length(windows.period)} windows every {_length(windows.every)}"
    return f"{_length(windows.every)} windows"


def _aggregate(expression: pl.Expr | None, name: str) -> str:
    """Return an aggregation in words: ``mean of delay``; one that is more than a call, by its column's name."""
    if expression is None:
        return name
    text = str(expression.meta.undo_aliases())
    if text == "len()":
        return "count"
    called = _CALL.match(text)
    return f"{called['function']} of {called['column']}" if called and "(" not in called["column"] else name


def _by(keys: Sequence[pl.Expr]) -> str:
    return f" by {_listed([key.meta.output_name() for key in keys])}" if keys else ""


def _listed(names: Sequence[str]) -> str:
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


def _shortened(title: str) -> str:
    flat = " ".join(title.split())
    return flat if len(flat) <= LONGEST_TITLE else f"{flat[: LONGEST_TITLE - 1].rstrip()}…"
