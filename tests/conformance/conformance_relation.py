"""A StreamFrame in the middle of a SQL query, and what SQL's windows make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl
from conformance_case import Unsupported
from conformance_expressions import Translator
from sqlglot import exp

import streamlab as sl
from streamlab.frame.group_by import WindowGroupBy

WINDOW_COLUMNS = ("window_start", "window_end", "window_time")
TICK_MS = 1
LEGACY = {"TUMBLE", "HOP", "SESSION"}
"""Window functions that stand in a GROUP BY."""


@dataclass(frozen=True)
class Windowing:
    """Windows that a table function has been asked for."""

    kind: str
    column: str
    sizes_ms: tuple[int, ...]
    partition: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relation:
    """A StreamFrame in the middle of a query.

    Attributes
    ----------
    frame : sl.StreamFrame
        What has been built.
    columns : tuple[str, ...]
        Those that SQL sees, in order.
    windowing : Windowing | None
        Windows that a later GROUP BY applies.
    window_time : str | None
        In results of a window aggregation: the hidden column with the event time of its rows.
    window_names : Mapping[str, str]
        Which columns are ``window_start``, ``window_end`` and ``window_time``, by the names they have now.
    window_filters : tuple[exp.Expression, ...]
        Conditions on the window's columns, which choose windows and so can be applied once these are there.
    """

    frame: sl.StreamFrame
    columns: tuple[str, ...]
    windowing: Windowing | None = None
    window_time: str | None = None
    window_names: Mapping[str, str] = field(default_factory=dict)
    window_filters: tuple[exp.Expression, ...] = ()

    @property
    def schema(self) -> pl.Schema:
        return self.frame.collect_schema()


def call_name(node: exp.Expression) -> str:
    if isinstance(node, exp.Anonymous):
        return node.name.upper().removesuffix("_WINDOW")
    return node.sql_name() if isinstance(node, exp.Func) else ""


def arguments_of(node: exp.Expression) -> list[exp.Expression]:
    return list(node.expressions) if isinstance(node, exp.Anonymous) else list(node.iter_expressions())


def role_of(node: exp.Expression, names: Mapping[str, str]) -> str | None:
    """Return which window column of an aggregation's result an expression is."""
    if isinstance(node, exp.Column) and node.name in names:
        return "w_" + names[node.name].removeprefix("window_")
    kind, _, part = call_name(node).partition("_")
    roles = {"START": "w_start", "END": "w_end", "ROWTIME": "w_time"}
    return roles.get(part) if kind in LEGACY else None


def filtered(relation: Relation, condition: exp.Expression) -> Relation:
    """Return the relation after a WHERE; what it says of windows that are not made yet is kept for later."""
    rows, later = [], list(relation.window_filters)
    for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
        named = {column.name for column in part.find_all(exp.Column)}
        if relation.windowing is None or not named & set(relation.window_names):
            rows.append(Translator(relation.schema).expression(part))
        elif named <= set(relation.window_names):
            later.append(part)
        else:
            msg = f"a condition on rows and windows together: {part.sql()}"
            raise Unsupported(msg)
    frame = relation.frame.filter(*rows) if rows else relation.frame
    return replace(relation, frame=frame, window_filters=tuple(later))


def attached(relation: Relation) -> Relation:
    """Return the rows of session windows with their window's columns, given when the session closes."""
    windowing = relation.windowing
    if windowing is None:
        return relation
    keys = list(windowing.partition)
    others = [name for name in relation.schema if name not in keys]
    grouped = windows(with_event_time(relation, windowing.column), windowing, [pl.col(key) for key in keys])
    lists = grouped.agg(pl.col(name).implode().alias(f"row_{name}") for name in others)
    bounded = bounds(lists, relation.schema[windowing.column])
    rows = bounded.explode([f"row_{name}" for name in others]).select(
        *keys,
        *(pl.col(f"row_{name}").alias(name) for name in others),
        *(pl.col("w_" + name.removeprefix("window_")).alias(name) for name in WINDOW_COLUMNS),
        pl.col("w_time").alias("w_time_hidden"),
    )
    names = {name: name for name in WINDOW_COLUMNS}
    done = replace(relation, frame=rows, windowing=None, window_time="w_time_hidden", window_names=names)
    done = replace(done, window_filters=())
    for condition in relation.window_filters:
        done = filtered(done, condition)
    return done


def with_event_time(relation: Relation, column: str) -> sl.StreamFrame:
    """Return the frame with `column` as its event time; results of windows are given a watermark anew."""
    return relation.frame.with_watermark(column, "0s") if relation.window_time is not None else relation.frame


def windows(frame: sl.StreamFrame, windowing: Windowing, keys: list[pl.Expr]) -> WindowGroupBy[sl.StreamFrame]:
    sizes = [f"{ms}ms" if ms >= 0 else f"-{-ms}ms" for ms in windowing.sizes_ms]
    column = windowing.column
    group_by = keys or None
    match windowing.kind, sizes:
        case "TUMBLE", [size, *offset]:
            return frame.group_by_dynamic(
                column, every=size, offset=(offset or [None])[0], group_by=group_by, include_boundaries=True
            )
        case "HOP", [slide, size, *offset]:
            return frame.group_by_dynamic(
                column,
                every=slide,
                period=size,
                offset=(offset or [None])[0],
                group_by=group_by,
                include_boundaries=True,
            )
        case "CUMULATE", [step, size, *offset]:
            return frame.group_by_cumulative(
                column,
                step=step,
                every=size,
                offset=(offset or [None])[0],
                group_by=group_by,
                include_boundaries=True,
            )
        case "SESSION", [gap]:
            return frame.group_by_session(column, gap=gap, group_by=group_by, include_boundaries=True)
    msg = f"{windowing.kind} with {len(sizes)} intervals"
    raise Unsupported(msg)


def bounds(frame: sl.StreamFrame, dtype: pl.DataType) -> sl.StreamFrame:
    """Name the edges of windows as SQL does: in a time zone, start and end are local times, window_time an instant."""
    edges = frame.with_columns(
        pl.col("_lower_boundary").alias("w_start"),
        pl.col("_upper_boundary").alias("w_end"),
        (pl.col("_upper_boundary") - pl.duration(milliseconds=TICK_MS)).alias("w_time"),
    )
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return edges.with_columns(pl.col("w_start", "w_end").dt.replace_time_zone(None))
    return edges
