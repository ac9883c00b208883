"""Which column is the event time after a step: the watermark from above must still hold for it.

A step keeps the event time when a column of its output holds the same instants: the column itself, under whatever
name, or the column in another time zone or a finer unit. Whatever else computes on it (a shift, a truncation, a coarser
unit) may move a row behind the watermark, so the event time is lost and has to be declared again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from streamlab.plan import nodes
from streamlab.plan.expressions import expand, output_columns

_UNITS = ("ms", "us", "ns")


def keeps_instants(before: pl.DataType | None, after: pl.DataType | None) -> bool:
    """Return whether a cast from one dtype to the other leaves every instant where it is.

    >>> keeps_instants(pl.Datetime("ms"), pl.Datetime("us")), keeps_instants(pl.Datetime("us"), pl.Datetime("ms"))
    (True, False)
    """
    if isinstance(before, pl.Datetime) and isinstance(after, pl.Datetime):
        return _UNITS.index(after.time_unit) >= _UNITS.index(before.time_unit)
    return before is not None and before == after


def by_name(event_time: str | None, before: pl.Schema, after: pl.Schema) -> str | None:
    """Return the event time after a step that keeps columns under their names."""
    if event_time is None or not keeps_instants(before.get(event_time), after.get(event_time)):
        return None
    return event_time


def after_select(event_time: str | None, before: pl.Schema, expressions: Sequence[pl.Expr]) -> str | None:
    """Return the event time after ``select(expressions)``: the column that holds it, its own name first."""
    if event_time is None:
        return None
    carriers = [
        name
        for expression in expand(expressions, before)
        for name, dtype in output_columns(expression, before)
        if _carries(expression, event_time, before[event_time], dtype)
    ]
    return event_time if event_time in carriers else next(iter(carriers), None)


def after_with_columns(event_time: str | None, before: pl.Schema, expressions: Sequence[pl.Expr]) -> str | None:
    """Return the event time after ``with_columns(expressions)``: lost when another column takes its name."""
    for expression in expand(expressions, before):
        for name, dtype in output_columns(expression, before):
            if name == event_time and not _carries(expression, event_time, before[event_time], dtype):
                return None
    return event_time


def _carries(expression: pl.Expr, event_time: str, before: pl.DataType, after: pl.DataType) -> bool:
    if not keeps_instants(before, after):
        return False
    bare = expression.meta.undo_aliases()
    return any(bare.meta.eq(form) for form in _same_instants(pl.col(event_time), before, after))


def _same_instants(column: pl.Expr, before: pl.DataType, after: pl.DataType) -> Iterator[pl.Expr]:
    """Yield the ways to write the column that keep its instants and give the dtype `after`."""
    yield column
    if isinstance(before, pl.Datetime) and isinstance(after, pl.Datetime):
        yield column.cast(after)
        yield column.cast(after, strict=False)
        yield column.dt.cast_time_unit(after.time_unit)
        if after.time_zone is not None:
            yield column.dt.convert_time_zone(after.time_zone)
        if before.time_zone is None and after.time_zone == "UTC":
            yield column.dt.replace_time_zone("UTC")


def has_watermark(node: nodes.Node) -> bool:
    """Return whether windows above the node close before its input ends, or its input ends."""
    if node.bounded or isinstance(node, nodes.AssignWatermarks):
        return True
    if isinstance(node, nodes.Scan):
        return node.source.timing.watermark is not None
    return all(has_watermark(child) for child in node.inputs)


def updating_step(node: nodes.Node) -> nodes.Node | None:
    """Return the first step that makes the stream an updating one; None when it is append-only."""
    return next((below for below in node.walk() if below.updating), None) if node.updating else None
