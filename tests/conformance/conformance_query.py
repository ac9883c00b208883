"""Adapter of the SQL categories: the query through streamlab's API, its rows fed one by one with their watermarks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import polars as pl
from conformance_case import Case, Row, Unsupported, assert_rows, timestamp
from conformance_expressions import dtype_of
from conformance_sql import build

import streamlab as sl
from streamlab.core.changelog import ROW_KIND, RowKind
from streamlab.core.errors import PlanError
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.testing.harness import Harness
from streamlab.testing.sources import split_frames

_STEPS = ("_watermark", "_savepoint")


def query(case: Case) -> None:
    """Run a case whose operation is SQL."""
    spec = case.data.get("watermark_spec") or {"kind": "none"}
    tables = {name: _table(case, name, rows, spec) for name, rows in case.tables.items()}
    try:
        frame = build(case.operation, tables, _event_time(case, spec))
    except PlanError as refused:
        msg = f"refused by the plan: {refused}"
        raise Unsupported(msg) from refused
    harness = Harness(frame)
    emitted: list[list[Row]] = [[]]
    for name, rows in case.tables.items():
        feed = _Feed(harness, tables[name].collect_schema(), name, spec)
        if (case.data.get("settings") or {}).get("mini_batch") and not any(
            step in row for row in rows for step in _STEPS
        ):
            feed.give_together(rows)
            continue
        for row in rows:
            if "_savepoint" in row:
                emitted[-1] += _rows(harness.take(), case)
                emitted.append([])
                harness.restart()
                continue
            feed.give(row)
    harness.end()
    emitted[-1] += _rows(harness.take(), case)
    if case.data.get("result_mode") == "append":
        kinds = {row["_op"] for rows in emitted for row in rows}
        assert kinds <= {"+I"}, f"an append-only result has {sorted(kinds)}"
    _compare(case, emitted)


class _Feed:
    """Gives one table's rows to its source, each followed by the watermark that it allows."""

    def __init__(self, harness: Harness, schema: pl.Schema, table: str, spec: Mapping[str, Any]) -> None:
        self._harness = harness
        self._schema = schema
        self._table = table
        self._spec = spec.get("tables", {}).get(table, spec) if spec.get("kind") == "per_table" else spec
        self._reached: int | None = None

    def give(self, row: Row) -> None:
        if "_watermark" in row:
            us = row["_watermark"]
            self._harness.watermark(MAX_TIME_US if us >= 2**63 - 1 else us * 1000, source=self._table)
        if any(name for name in row if not name.startswith("_")):
            frame = pl.DataFrame([_typed(row, self._schema)], schema=self._schema)
            self._harness.push(frame, source=self._table)
            self._follow(frame)

    def give_together(self, rows: list[Row]) -> None:
        """Give rows as one batch, which changes a key at most once."""
        frame = pl.DataFrame([_typed(row, self._schema) for row in rows], schema=self._schema)
        self._harness.push(frame, source=self._table)

    def _follow(self, frame: pl.DataFrame) -> None:
        column, delay = self._spec.get("column"), self._spec.get("delay_ms")
        if column is None or delay is None or frame[column][0] is None:
            return
        at = frame[column].dt.epoch("ms").item() - delay - (1 if self._spec.get("minus_one_ms") else 0)
        if self._reached is None or at > self._reached:
            self._reached = at
            self._harness.watermark(at * 1000, source=self._table)


def _table(case: Case, name: str, rows: list[Row], spec: Mapping[str, Any]) -> sl.StreamFrame:
    """Return an empty stream with the schema, event time and watermark of an input table."""
    declared = case.data.get("input_schema") or {}
    declared = declared.get(name, declared) if name in declared and isinstance(declared[name], dict) else declared
    if any("_op" in row for row in rows):
        msg = "changelogs as input"
        raise Unsupported(msg)
    zone = case.data.get("session_time_zone")
    schema: dict[str, pl.DataType] = {}
    for column, sql_type in declared.items():
        if "PROCTIME" in sql_type.upper():
            msg = "processing time as a column"
            raise Unsupported(msg)
        dtype = dtype_of(sql_type, _scale(rows, column))
        if "LTZ" in sql_type.upper():
            dtype = pl.Datetime("ms", zone or "UTC")
        schema[column] = dtype
    if not schema:
        msg = "a case without input_schema"
        raise Unsupported(msg)
    column = _event_time(case, spec)
    column = column if column in schema else None
    frame = pl.DataFrame(schema=schema)
    return split_frames([frame], name=name, event_time=column, watermark="0s" if column else None)


def _event_time(case: Case, spec: Mapping[str, Any]) -> str | None:
    """Return the column of the event time, if the case has one."""
    if spec.get("kind") in {"none", "processing_time"}:
        return None
    return spec.get("column") or case.data.get("time_column")


def _scale(rows: list[Row], column: str) -> int:
    texts = (str(row[column]) for row in rows if row.get(column) is not None)
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def _typed(row: Row, schema: pl.Schema) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, dtype in schema.items():
        value = row.get(name)
        if value is None and name not in row and isinstance(dtype, pl.Datetime) and dtype.time_zone:
            # A computed column such as ``TO_TIMESTAMP_LTZ(ts_ms, 3)``.
            at = next(v for k, v in row.items() if k.endswith("_ms"))
            value = pl.select(pl.lit(at).cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone(dtype.time_zone)).item()
        elif isinstance(value, str) and isinstance(dtype, pl.Decimal):
            value = Decimal(value)
        elif isinstance(value, str) and dtype.is_temporal():
            value = timestamp(value) if isinstance(dtype, pl.Datetime) else timestamp(value).date()
        elif value is not None and dtype.is_float():
            value = float(value)
        made[name] = value
    return made


def _rows(frame: pl.DataFrame, case: Case) -> list[Row]:
    """Return the rows that came out with their kind as ``_op``, cast to the types that the case declares."""
    declared = case.data.get("output_schema") or {}
    casts = [
        pl.col(name).cast(dtype_of(sql_type))
        for name, sql_type in declared.items()
        if name in frame.columns and re.match(r"(?i)(BIGINT|INT|DOUBLE)\b", sql_type)
    ]
    frame = frame.with_columns(casts)
    rows = []
    for row in frame.iter_rows(named=True):
        kind = RowKind(row.pop(ROW_KIND, 0))
        rows.append({**row, "_op": kind.symbol})
    return rows


def _folded(rows: list[Row]) -> list[Row]:
    table: list[Row] = []
    for row in rows:
        values = {name: value for name, value in row.items() if name != "_op"}
        if row["_op"] in {"+I", "+U"}:
            table.append(values)
        elif values in table:
            table.remove(values)
    return table


def _compare(case: Case, emitted: list[list[Row]]) -> None:
    mode = case.data.get("result_mode", "append")
    ordered = bool(case.data.get("ordered"))
    expected = [row for row in case.expected if "_savepoint" not in row]
    got = [row for rows in emitted for row in rows]
    if mode in {"retract-final", "upsert-final", "final-table"}:
        got = _folded(got)
    elif mode == "upsert-changelog":
        got = [row for row in got if row["_op"] != "-U"]
    elif mode not in {"append", "changelog"}:
        msg = f"the result mode {mode}"
        raise Unsupported(msg)
    assert_rows(got, expected, ordered=ordered, tolerance=case.tolerance)
