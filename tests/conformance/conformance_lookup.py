"""Adapter of lookup joins: a join with a frame that does not change; when the table does, the query goes on changed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl
import sqlglot
from conformance_case import Case, Row, Unsupported, assert_rows
from conformance_expressions import Translator, dtype_of
from sqlglot import exp

import streamlab as sl
from streamlab.testing.harness import Harness
from streamlab.testing.sources import split_frames


def lookup_join(case: Case) -> None:
    """Run a case; where it stops with a savepoint, the query with the table's next version goes on from it."""
    join = _Join(case)
    versions = [join.frame(rows) for rows in _phases(case.tables[join.table])]
    phases = _phases(case.tables[join.stream])
    if len(versions) != len(phases):
        msg = "a table that changes while the query runs"
        raise Unsupported(msg)
    rows: list[Row] = []
    harness = Harness(join.query(versions[0]))
    for number, (version, phase) in enumerate(zip(versions, phases, strict=True)):
        if number:
            harness.restart(join.query(version))
        for row in phase:
            harness.push(pl.DataFrame([row], schema=join.stream_schema, strict=False))
        rows += harness.take().rows(named=True)
    harness.end()
    rows += harness.take().rows(named=True)
    expected = [
        {name: value for name, value in row.items() if name != "_op"}
        for row in case.expected
        if "_savepoint" not in row
    ]
    assert_rows(rows, expected, ordered=bool(case.data.get("ordered")), tolerance=case.tolerance)


class _Join:
    """``SELECT … FROM stream JOIN table FOR SYSTEM_TIME AS OF … ON …``, read."""

    def __init__(self, case: Case) -> None:
        select = sqlglot.parse_one(case.operation)
        joins = select.args.get("joins") or []
        source = select.args.get("from_") or select.args.get("from")
        if len(joins) != 1 or source is None or select.args.get("where") or select.args.get("group"):
            msg = f"the query {case.operation}"
            raise Unsupported(msg)
        self.stream, self.table = source.this.name, joins[0].this.name
        self.stream_schema = _schema(case.data["input_schema"][self.stream])
        self.table_schema = _schema(case.data["input_schema"][self.table])
        self._alias = {source.this.alias_or_name: self.stream, joins[0].this.alias_or_name: self.table}
        self._how = "left" if joins[0].side == "LEFT" else "inner"
        condition = joins[0].args["on"]
        parts = list(condition.flatten()) if isinstance(condition, exp.And) else [condition]
        self._of_stream, self._of_table = ([p for p in parts if self._tables(p) == {t}] for t in self._alias.values())
        keys = [part for part in parts if part not in [*self._of_stream, *self._of_table]]
        if len(keys) != 1 or not isinstance(keys[0], exp.EQ):
            msg = f"the condition {condition.sql()}"
            raise Unsupported(msg)
        sides = {self._alias[side.table]: side.name for side in (keys[0].this, keys[0].expression)}
        self._left_on, self._right_on = sides[self.stream], sides[self.table]
        self._outputs = [
            (self._alias[column.unalias().table], column.unalias().name, column.alias_or_name)
            for column in select.expressions
        ]

    def _tables(self, part: exp.Expression) -> set[str]:
        return {self._alias[column.table] for column in part.find_all(exp.Column)}

    def frame(self, rows: list[Row]) -> pl.DataFrame:
        """Return one version of the table, as far as rows of it can be met."""
        frame = pl.DataFrame(rows, schema=self.table_schema)
        conditions = [Translator(frame.schema).expression(_bare(part)) for part in self._of_table]
        met = frame.filter(*conditions) if conditions else frame
        return met.select(pl.all().name.prefix("table_"), pl.col(self._right_on).alias("looked_up"))

    def query(self, version: pl.DataFrame) -> sl.StreamFrame:
        """Return the query over a version of the table."""
        stream = split_frames([pl.DataFrame(schema=self.stream_schema)], name=self.stream)
        key = pl.col(self._left_on)
        for part in self._of_stream:
            # A row that meets nothing: of a left join it comes out all the same.
            key = pl.when(Translator(self.stream_schema).expression(_bare(part))).then(key)
        joined = stream.with_columns(key.alias("looked_up")).join(version, on="looked_up", how=self._how)
        return joined.select(
            pl.col(f"table_{column}" if table == self.table else column).alias(name)
            for table, column, name in self._outputs
        )


def _bare(part: exp.Expression) -> exp.Expression:
    """Return a condition without the names of tables in it."""
    return sqlglot.parse_one(re.sub(r"\b\w+\.(?=[A-Za-z_])", "", part.sql()))


def _schema(declared: Mapping[str, str]) -> pl.Schema:
    return pl.Schema({name: dtype_of(sql_type) for name, sql_type in declared.items() if not name.startswith("_")})


def _phases(rows: list[Row]) -> list[list[Row]]:
    """Return the rows before, between and after the savepoints."""
    phases: list[list[Row]] = [[]]
    for row in rows:
        if "_savepoint" in row:
            phases.append([])
        else:
            phases[-1].append(row)
    return phases
