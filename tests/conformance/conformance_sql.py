"""SQL text as a :class:`Query` over StreamFrames: the part of Flink's dialect that streamlab's API can say.

Understood: ``SELECT … FROM … WHERE … GROUP BY … HAVING``, subqueries and ``WITH``, the windowing table functions
``TUMBLE HOP CUMULATE SESSION`` and the older ``GROUP BY TUMBLE(…)`` functions, ``GROUPING SETS``, ``CUBE``, ``ROLLUP``,
``DISTINCT``, ``UNION [ALL]``, ``INTERSECT [ALL]`` and ``EXCEPT [ALL]``. The rest is `Unsupported`, by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import polars as pl
import sqlglot
from conformance_case import Unsupported
from conformance_expressions import Translator, interval_ms, is_aggregate
from conformance_first_rows import first_rows
from conformance_group_by import Aggregation
from conformance_relation import WINDOW_COLUMNS, Relation, Windowing, attached, filtered
from sqlglot import exp

import streamlab as sl

_TVF = re.compile(r"\bTABLE\s*\(\s*(TUMBLE|HOP|CUMULATE|SESSION)\s*\(", re.IGNORECASE)


def build(text: str, tables: Mapping[str, sl.StreamFrame], event_time: str | None = None) -> sl.StreamFrame:
    """Return the StreamFrame of a query over the given tables, whose event time is in the column given."""
    planner = _Planner(tables, event_time)
    relation = planner.query(planner.parse(text))
    return relation.frame.select(*relation.columns)


class _Planner:
    def __init__(self, tables: Mapping[str, sl.StreamFrame], event_time: str | None) -> None:
        self._event_time = event_time
        self._tables = {name: Relation(frame, tuple(frame.collect_schema())) for name, frame in tables.items()}
        self._functions: dict[str, tuple[str, str]] = {}

    # -- text --------------------------------------------------------------------------------------------------------

    def parse(self, text: str) -> exp.Expression:
        """Parse SQL; windowing table functions, which the parser does not know, become names of tables."""
        while match := _TVF.search(text):
            depth, end = 2, match.end()
            while depth:
                depth += {"(": 1, ")": -1}.get(text[end], 0)
                end += 1
            arguments = text[match.end() : end - 1].rstrip().removesuffix(")")
            name = f"windowed_{len(self._functions)}"
            self._functions[name] = (match[1].upper(), arguments)
            text = f"{text[: match.start()]}{name}{text[end:]}"
        # SESSION alone is a word of its own to the parser.
        text = re.sub(r"\bSESSION\s*\(", "SESSION_WINDOW(", text, flags=re.IGNORECASE)
        try:
            return sqlglot.parse_one(text)
        except sqlglot.errors.ParseError as error:
            msg = f"SQL that the parser does not read: {error}"
            raise Unsupported(msg) from error

    def _table_function(self, kind: str, arguments: str) -> Relation:
        arguments = re.sub(r"\b\w+\s*=>\s*", "", arguments)
        head, column, tail = re.match(
            r"(?is)\s*(.*?),\s*DESCRIPTOR\s*\(\s*([\w`\"]+)\s*\)\s*,?(.*)", arguments
        ).groups()  # type: ignore[union-attr]
        source, _, keys = re.sub(r"(?i)^TABLE\s+", "", head).partition("PARTITION BY")
        source = source.strip()
        inner = source.startswith("(")
        relation = self.query(self.parse(source[1:-1])) if inner else self._named(source)
        sizes = tuple(interval_ms(e) for e in sqlglot.parse_one(f"SELECT {tail}").expressions)
        partition = tuple(key.strip() for key in keys.strip().strip("()").split(",") if key.strip())
        windowing = Windowing(kind, column.strip('`"'), sizes, partition)
        names = {name: name for name in WINDOW_COLUMNS}
        columns = tuple(c for c in relation.columns if c not in names)
        return replace(relation, windowing=windowing, columns=(*columns, *names), window_names=names)

    # -- tables ------------------------------------------------------------------------------------------------------

    def _named(self, name: str) -> Relation:
        if name in self._functions:
            return self._table_function(*self._functions[name])
        for known, relation in self._tables.items():
            if known.lower() == name.lower():
                return relation
        msg = f"the table {name}"
        raise Unsupported(msg)

    def query(self, node: exp.Expression) -> Relation:
        """Return the relation of a SELECT or of a set operation."""
        for cte in node.ctes if isinstance(node, exp.Query) else ():
            self._tables[cte.alias] = self.query(cte.this)
        match node:
            case exp.Subquery() | exp.Paren():
                return self.query(node.this)
            case exp.SetOperation():
                return self._set_operation(node)
            case exp.Select():
                return self._select(node)
        msg = f"the query {node.sql()}"
        raise Unsupported(msg)

    def _set_operation(self, node: exp.SetOperation) -> Relation:
        left, right = self.query(node.this), self.query(node.expression)
        sides = [
            relation.frame.select(
                *(pl.col(old).alias(new) for old, new in zip(relation.columns, left.columns, strict=True)),
                pl.lit(side).alias("side"),
            )
            for side, relation in enumerate((left, right))
        ]
        both = sl.concat(sides)
        columns = list(left.columns)
        distinct = node.args.get("distinct") is not False
        if isinstance(node, exp.Union) and not distinct:
            return Relation(both.select(*columns), left.columns)
        counted = both.group_by(*columns).agg(
            (pl.col("side") == 0).sum().cast(pl.Int64).alias("n_left"),
            (pl.col("side") == 1).sum().cast(pl.Int64).alias("n_right"),
        )
        if isinstance(node, exp.Union):
            times = pl.lit(1)
        elif isinstance(node, exp.Intersect):
            times = pl.min_horizontal("n_left", "n_right")
        else:
            times = (
                pl.col("n_left") - pl.col("n_right") if not distinct else pl.col("n_left").mul(pl.col("n_right") == 0)
            )
        if distinct:
            times = times.clip(upper_bound=1)
        kept = counted.with_columns(times.alias("times")).filter(pl.col("times") > 0)
        if not distinct:
            kept = kept.with_columns(pl.lit(0).repeat_by("times").alias("times")).explode("times")
        return Relation(kept.select(*columns), left.columns)

    def _select(self, node: exp.Select) -> Relation:
        kept = first_rows(node)
        if kept is not None:
            below = self.query(kept.source) if isinstance(kept.source, exp.Subquery) else self._named(kept.source.name)
            return self._project(kept.of(below, self._event_time), node.expressions)
        for name in ("joins", "laterals", "order", "qualify", "limit", "offset", "windows", "match", "pivots"):
            if node.args.get(name):
                msg = f"{name.rstrip('s').upper()} in a query"
                raise Unsupported(msg)
        if node.find(exp.Window):
            msg = "OVER in a query"
            raise Unsupported(msg)
        source = node.args.get("from_") or node.args.get("from")
        if source is None:
            msg = "a query without FROM"
            raise Unsupported(msg)
        below = source.this
        relation = self.query(below) if isinstance(below, exp.Subquery) else self._named(below.name)
        if where := node.args.get("where"):
            relation = filtered(relation, where.this)
        group, outputs = node.args.get("group"), node.expressions
        aggregates = any(is_aggregate(part) for output in outputs for part in output.walk())
        if group is not None or aggregates:
            result = Aggregation(relation, node).relation()
        else:
            result = self._project(relation, outputs)
        if node.args.get("distinct"):
            keys = list(result.columns)
            frame = result.frame.group_by(*keys).agg(pl.len().alias("n_rows")).select(*keys)
            result = Relation(frame, result.columns)
        return result

    def _project(self, relation: Relation, outputs: list[exp.Expression]) -> Relation:
        if relation.windowing is not None and relation.windowing.kind == "SESSION":
            relation = attached(relation)
        translator = Translator(relation.schema)
        columns: list[str] = []
        made: list[pl.Expr] = []
        names: dict[str, str] = {}
        for output in outputs:
            if isinstance(output, exp.Star):
                columns += relation.columns
                names.update(relation.window_names)
                continue
            name = output.alias_or_name
            inner = output.unalias()
            columns.append(name)
            if isinstance(inner, exp.Column) and inner.name in relation.window_names:
                names[name] = relation.window_names[inner.name]
                if relation.windowing is not None:
                    continue
            made.append(translator.expression(inner).alias(name))
        hidden = [relation.window_time] if relation.window_time else []
        time = [relation.windowing.column] if relation.windowing else []
        kept = [c for c in columns if c in relation.schema and c not in {e.meta.output_name() for e in made}]
        carried = [c for c in dict.fromkeys([*kept, *hidden, *time]) if c in relation.schema]
        if relation.window_time is None and relation.windowing is None:
            carried = kept
        frame = relation.frame.select(*carried, *(e for e in made if e.meta.output_name() not in carried))
        return replace(relation, frame=frame, columns=tuple(columns), window_names=names)
