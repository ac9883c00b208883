"""GROUP BY of SQL as group_by of the API: of rows, of windows, of the results of windows."""

from __future__ import annotations

import itertools

import polars as pl
from conformance_case import Unsupported
from conformance_expressions import Translator, interval_ms, is_aggregate
from conformance_relation import (
    LEGACY,
    TICK_MS,
    Relation,
    Windowing,
    arguments_of,
    attached,
    bounds,
    call_name,
    role_of,
    windows,
    with_event_time,
)
from sqlglot import exp

import streamlab as sl

_GROUPINGS = ("grouping_sets", "cube", "rollup")


def _alternatives(item: exp.Expression) -> list[list[exp.Expression]]:
    """Return the key lists that one element of a GROUP BY stands for."""

    def members(node: exp.Expression) -> list[exp.Expression]:
        return list(node.expressions) if isinstance(node, exp.Tuple) else [node.unnest()]

    if isinstance(item, exp.GroupingSets):
        return [keys for part in item.expressions for keys in _alternatives(part)]
    if isinstance(item, exp.Cube):
        parts = [members(part) for part in item.expressions]
        return [
            [key for part in chosen for key in part]
            for size in range(len(parts), -1, -1)
            for chosen in itertools.combinations(parts, size)
        ]
    if isinstance(item, exp.Rollup):
        parts = [members(part) for part in item.expressions]
        return [[key for part in parts[:size] for key in part] for size in range(len(parts), -1, -1)]
    return [members(item)]


class Aggregation:
    """One GROUP BY, of rows, of windows, or of everything."""

    def __init__(self, relation: Relation, node: exp.Select) -> None:
        self._relation = relation
        self._node = node
        self._calls: dict[str, tuple[str, exp.Expression]] = {}
        self._aliases = {o.alias: o.unalias() for o in node.expressions if isinstance(o, exp.Alias)}

    def relation(self) -> Relation:
        sets = self._grouping_sets()
        for output in self._outputs():
            self._collect(output)
        branches = [self._branch(keys, [k for s in sets for k in s]) for keys in sets]
        if len(branches) == 1:
            return branches[0]
        frames = [branch.frame.select(*branches[0].columns) for branch in branches]
        return Relation(sl.concat(frames), branches[0].columns)

    def _outputs(self) -> list[exp.Expression]:
        having = self._node.args.get("having")
        return [*self._node.expressions, *([having.this] if having else [])]

    def _collect(self, node: exp.Expression) -> None:
        if is_aggregate(node):
            self._calls.setdefault(node.sql(), (f"agg_{len(self._calls)}", node))
            return
        for child in node.iter_expressions():
            self._collect(child)

    # -- keys --------------------------------------------------------------------------------------------------------

    def _grouping_sets(self) -> list[list[exp.Expression]]:
        group = self._node.args.get("group")
        if group is None:
            return [[]]
        items = [*group.expressions, *itertools.chain(*(group.args.get(a) or [] for a in _GROUPINGS))]
        choices = [_alternatives(item) for item in items]
        return [[self._unaliased(key) for part in parts for key in part] for parts in itertools.product(*choices)]

    def _unaliased(self, key: exp.Expression) -> exp.Expression:
        key = key.unnest()
        if isinstance(key, exp.Literal) and not key.is_string:
            return self._node.expressions[int(key.name) - 1].unalias()
        if isinstance(key, exp.Column) and key.name not in self._relation.columns and key.name in self._aliases:
            return self._aliases[key.name]
        return key

    # -- one grouping ------------------------------------------------------------------------------------------------

    def _branch(self, keys: list[exp.Expression], all_keys: list[exp.Expression]) -> Relation:
        relation = self._relation
        windowing = relation.windowing
        windowed: list[exp.Expression] = []
        for key in keys:
            legacy = isinstance(key, exp.Func) and call_name(key) in LEGACY
            if legacy:
                arguments = arguments_of(key)
                sizes = tuple(interval_ms(e) for e in arguments[1:])
                windowing = Windowing(call_name(key), arguments[0].name, sizes)
            if legacy or (isinstance(key, exp.Column) and key.name in relation.window_names):
                windowed.append(key)
        plain = [key for key in keys if key not in windowed]
        if windowing is relation.windowing is not None and windowing.kind == "SESSION":
            grouped_by = {key.name if isinstance(key, exp.Column) else key.sql() for key in plain}
            if set(windowing.partition) != grouped_by:
                self._relation = attached(relation)
                return self._same_window(plain, all_keys)
        if windowed and windowing is None:
            return self._same_window(plain, all_keys)
        if windowing is not None and not windowed:
            msg = "grouping rows of a windowing function without its window"
            raise Unsupported(msg)
        translator = Translator(relation.schema)
        named = {key.sql(): f"key_{number}" for number, key in enumerate(plain)}
        expressions = [translator.expression(key).alias(named[key.sql()]) for key in plain]
        aggregates = [translator.expression(call).alias(name) for name, call in self._calls.values()]
        if windowing is None:
            frame = self._unbounded(relation.frame, expressions, aggregates)
            return self._finish(frame, named, all_keys, time=None)
        frame = with_event_time(relation, windowing.column)
        grouped = windows(frame, windowing, expressions)
        result = grouped.agg(*(aggregates or [pl.len().alias("n_rows")]))
        unit = relation.schema[windowing.column]
        bounded = bounds(result, unit)
        for condition in relation.window_filters:
            bounded = bounded.filter(Translator(bounded.collect_schema(), self._window_column).expression(condition))
        return self._finish(bounded, named, all_keys, time="w_time")

    def _window_column(self, node: exp.Expression) -> pl.Expr | None:
        role = role_of(node, self._relation.window_names)
        return pl.col(role) if role else None

    def _unbounded(self, frame: sl.StreamFrame, keys: list[pl.Expr], aggregates: list[pl.Expr]) -> sl.StreamFrame:
        aggregates = aggregates or [pl.len().alias("n_rows")]
        if keys:
            return frame.group_by(*keys).agg(*aggregates)
        return frame.select(*aggregates)

    def _same_window(self, plain: list[exp.Expression], all_keys: list[exp.Expression]) -> Relation:
        """Group results of windows by their window again: windows of one tick around each result's own time."""
        relation = self._relation
        if relation.window_time is None:
            msg = "GROUP BY window columns of something that has no windows"
            raise Unsupported(msg)
        translator = Translator(relation.schema)
        named = {key.sql(): f"key_{number}" for number, key in enumerate(plain)}
        keys = [translator.expression(key).alias(named[key.sql()]) for key in plain]
        starts = [name for name, role in relation.window_names.items() if role in {"window_start", "window_end"}]
        roles = {relation.window_names[name] for name in starts}
        if roles != {"window_start", "window_end"}:
            msg = "GROUP BY one window column only"
            raise Unsupported(msg)
        carried = [pl.col(name).alias("w_" + relation.window_names[name].removeprefix("window_")) for name in starts]
        aggregates = [translator.expression(call).alias(name) for name, call in self._calls.values()]
        frame = with_event_time(relation, relation.window_time).rename({relation.window_time: "w_at"})
        frame = frame.with_columns(pl.col("w_at").alias("w_time"))
        grouped = frame.group_by_dynamic(
            "w_at", every=f"{TICK_MS}ms", group_by=[*keys, *carried, pl.col("w_time")]
        ).agg(*(aggregates or [pl.len().alias("n_rows")]))
        return self._finish(grouped, named, all_keys, time="w_time")

    def _finish(
        self, frame: sl.StreamFrame, named: dict[str, str], all_keys: list[exp.Expression], *, time: str | None
    ) -> Relation:
        """Put the results of the calls into the expressions that they stand in; HAVING, and names as in SQL."""
        names = self._relation.window_names
        calls = {sql: name for sql, (name, _) in self._calls.items()}
        absent = {key.sql() for key in all_keys} - set(named)

        def resolve(node: exp.Expression) -> pl.Expr | None:
            text = node.sql()
            if call_name(node) in {"GROUPING_ID", "GROUPING"}:
                bits = "".join("0" if a.sql() in named else "1" for a in arguments_of(node))
                return pl.lit(int(bits, 2), pl.Int64)
            if text in calls:
                return pl.col(calls[text])
            if text in named:
                return pl.col(named[text])
            if role := role_of(node, names):
                return pl.col(role)
            if text in absent:
                dtype = Translator(self._relation.schema).dtype(Translator(self._relation.schema).expression(node))
                return pl.lit(None, dtype)
            return None

        schema = frame.collect_schema()
        translator = Translator(schema, resolve)
        if having := self._node.args.get("having"):
            frame = frame.filter(translator.expression(having.this))
        columns, expressions, window_names = [], [], {}
        for output in self._node.expressions:
            name = output.alias_or_name or output.sql()
            inner = output.unalias()
            columns.append(name)
            expressions.append(translator.expression(inner).alias(name))
            if role := role_of(inner, names):
                window_names[name] = "window_" + role.removeprefix("w_")
        hidden = [pl.col(time).alias("w_time_hidden")] if time is not None else []
        frame = frame.select(*expressions, *hidden)
        return Relation(frame, tuple(columns), None, "w_time_hidden" if time else None, window_names)
