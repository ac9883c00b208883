"""A plan as text: one line per step, its input below it, as Polars draws its own.

The text is stable: it depends on the query only, so tests compare it and jobs keep it.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, singledispatch
from typing import Any

import polars as pl

from streamlab.core.column_names.former_names import former
from streamlab.core.column_names.own_columns import is_own
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import (
    CumulativeWindows,
    EveryDuration,
    HoppingWindows,
    SessionWindows,
    Trigger,
    Windows,
)
from streamlab.core.redaction import without_credentials
from streamlab.plan import nodes
from streamlab.plan.lengths import length_text, span_text
from streamlab.plan.schema import calls_python
from streamlab.plan.step_names import step_names
from streamlab.plan.step_titles import step_titles

_MAX_TEXT = 160


def explain_plan(plan: nodes.Node) -> str:
    """Return the plan as a tree of text, the last step first."""
    return without_credentials("\n".join(_lines(plan, step_titles(plan, step_names(plan)), for_people=True)))


def path_digest(node: nodes.Node) -> str:
    """Return a hash of a step and of all that it is fed by, which tells steps of one name apart."""
    columns = node.schema.names() if isinstance(node, nodes.Scan) else []
    return hashlib.sha256(former("\n".join([*_lines(node, {}), *columns])).encode()).hexdigest()


def _lines(node: nodes.Node, names: Mapping[int, str], *, for_people: bool = False) -> Iterator[str]:
    """Yield the lines of a step and of its inputs; for people without the columns that they have not named."""
    inputs = node.inputs
    conditions = _conditions(node) if for_people else ""
    if conditions:
        # The conditions are columns of the aggregate, which one step filters by and another drops.
        inputs = node.inputs[0].inputs
        yield f"having: {conditions}"
    else:
        yield _headline(node, names.get(id(node), node.step))
    rail = "│" if inputs else " "
    for detail in _details(node) if not conditions else ():
        if not (for_people and is_own(detail)):
            yield f"{rail}    {detail}"
    for at, child in enumerate(inputs):
        last = at == len(inputs) - 1
        first, *rest = _lines(child, names, for_people=for_people)
        yield f"{'└─' if last else '├─'} {first}"
        for line in rest:
            yield f"{'  ' if last else '│ '} {line}".rstrip()


def _conditions(node: nodes.Node) -> str:
    """Return what groups are chosen by, of the last of the steps that ``having`` is made of; else nothing."""
    if not (isinstance(node, nodes.PolarsStep) and node.method == "drop" and all(map(is_own, node.args))):
        return ""
    aggregate = node.input.inputs[0]
    if not isinstance(aggregate, nodes.GroupAggregate | nodes.WindowAggregate):
        return ""
    return ", ".join(
        _short(str(one.meta.undo_aliases())) for one in aggregate.aggregates if is_own(one.meta.output_name())
    )


def _headline(node: nodes.Node, name: str) -> str:
    marks = []
    if node.updating and not any(child.updating for child in node.inputs):
        marks.append("makes the stream an updating one")
    text = _text(node)
    note = f"  [{'; '.join(marks)}]" if marks else ""
    if isinstance(node, nodes.Scan) and text.startswith(node.step):
        name, text = "", f"{name}{text.removeprefix(node.step)}"
    return f"{': '.join(filter(None, (name, text)))}{note}"


@singledispatch
def _text(_: nodes.Node) -> str:
    return ""


@_text.register
def _(node: nodes.Scan) -> str:
    return node.source.describe()


@_text.register
def _(node: nodes.PolarsStep) -> str:
    arguments = [_shown(value) for value in node.args]
    defaults = _defaults(node.method)
    arguments += [f"{name}={_shown(value)}" for name, value in node.kwargs.items() if value is not defaults.get(name)]
    python = any(calls_python(value) for value in (*node.args, *node.kwargs.values()))
    return _short(", ".join(arguments)) + ("  [row-wise Python]" if python else "")


@lru_cache
def _defaults(method: str) -> Mapping[str, Any]:
    """Return what Polars takes an argument for that is not given."""
    parameters = inspect.signature(getattr(pl.LazyFrame, method)).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


@_text.register
def _(node: nodes.MapBatches) -> str:
    name = getattr(node.function, "__qualname__", type(node.function).__name__)
    return f"{name}, on {node.as_} frames  [Python, whole batches]"


@_text.register
def _(node: nodes.AssignWatermarks) -> str:
    idle = f", idle after {length_text(node.idle_timeout)}" if node.idle_timeout else ""
    return f"event time {node.column}, {_behind(node.delay)}{idle}"


@_text.register
def _(node: nodes.Head) -> str:
    return f"{node.n:,} rows"


@_text.register
def _(node: nodes.StaticJoin) -> str:
    left, right = (", ".join(map(str, keys)) for keys in (node.left_on, node.right_on))
    on = left if left == right else f"{left} = {right}"
    return f"{node.how} on {on} with a static frame of {node.right.height:,} rows, broadcast"


@_text.register
def _(node: nodes.StreamJoin) -> str:
    left, right = (", ".join(map(str, keys)) for keys in (node.left_on, node.right_on))
    return f"{node.how} on {left if left == right else f'{left} = {right}'}; both streams are kept"


@_text.register
def _(node: nodes.Union) -> str:
    return f"{len(node.branches)} streams; the lowest watermark counts"


@_text.register
def _(node: nodes.GroupAggregate) -> str:
    return f"over the whole stream, {_keys(node.keys)}"


@_text.register
def _(node: nodes.WindowAggregate) -> str:
    return f"{_windows(node.windows)} on {node.index_column}, {_keys(node.keys)}"


@_text.register
def _(node: nodes.Write) -> str:
    return f"{node.sink.describe()}, {node.sink.promise}"


@singledispatch
def _details(_: nodes.Node) -> Sequence[str]:
    return ()


@_details.register
def _(node: nodes.Scan) -> Sequence[str]:
    source, timing = node.source, node.source.timing
    facts = ["ends by itself" if source.bounded else "endless"]
    facts.append(f"exactly-once with checkpoints: {'replayable' if source.replayable else 'recorded first'}")
    if source.max_parallelism is not None:
        facts.append(f"at most {source.max_parallelism} subtask{'s' if source.max_parallelism > 1 else ''}")
    lines = ["; ".join(facts)]
    if timing.event_time is not None:
        behind = "watermark only at its end" if timing.watermark is None else _behind(timing.watermark)
        lines.append(f"event time {timing.event_time}, {behind}")
    if timing.idle_timeout is not None:
        lines.append(f"idle after {length_text(timing.idle_timeout)}")
    if timing.pace is not None:
        lines.append(f"paced at {timing.pace:g} times real time")
    if timing.max_advance is not None:
        lines.append(f"a row may be at most {length_text(timing.max_advance)} ahead")
    return lines


@_details.register
def _(node: nodes.GroupAggregate) -> Sequence[str]:
    kept = [] if node.split.is_incremental else ["rows are kept for good"]
    return [*_aggregates(node), *kept]


@_details.register
def _(node: nodes.WindowAggregate) -> Sequence[str]:
    lines = list(_aggregates(node))
    if not node.split.is_incremental:
        lines.append("rows are kept until their window is over")
    if node.trigger is not None:
        lines.append(f"early results {_trigger(node.trigger)}")
    if node.allowed_lateness_us:
        lines.append(f"late rows update results for {span_text(node.allowed_lateness_us)} more")
    return lines


def _aggregates(node: nodes.GroupAggregate | nodes.WindowAggregate) -> Sequence[str]:
    reports = node.split.reports
    written = (
        [_short(str(e.meta.undo_aliases())) for e in node.aggregates]
        if len(node.aggregates) == len(reports)
        else [""] * len(reports)
    )
    return [
        f"{report.name}: {text}  {'[incremental]' if report.incremental else f'[buffered: {report.reason}]'}"
        for report, text in zip(reports, written, strict=True)
    ]


def _windows(windows: Windows) -> str:
    if isinstance(windows, SessionWindows):
        return f"sessions with gaps over {length_text(windows.gap)}"
    offset = f", offset {length_text(windows.offset)}" if windows.offset.us != 0 else ""
    if isinstance(windows, CumulativeWindows):
        return f"cumulative windows growing by {length_text(windows.step)} to {length_text(windows.every)}{offset}"
    if isinstance(windows, HoppingWindows) and windows.kind == "hopping":
        return f"hopping windows of {length_text(windows.period)} every {length_text(windows.every)}{offset}"
    return f"tumbling windows of {length_text(windows.every)}{offset}"


def _trigger(trigger: Trigger) -> str:
    return (
        f"every {length_text(trigger.interval)}"
        if isinstance(trigger, EveryDuration)
        else f"every {trigger.rows:,} rows"
    )


def _keys(keys: Sequence[pl.Expr]) -> str:
    if not keys:
        return "no keys: one subtask"
    return f"keys {', '.join(_name(key) for key in keys)}"


def _name(key: pl.Expr) -> str:
    name = key.meta.output_name()
    return name if key.meta.eq(pl.col(name)) else str(key)


def _behind(delay: Duration) -> str:
    return f"watermark {length_text(delay)} behind"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value) if isinstance(value, pl.Expr) else repr(value)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _MAX_TEXT else flat[: _MAX_TEXT - 1] + "…"
