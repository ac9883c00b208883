"""SQL text as a :class:`Query` over StreamFrames: the part of Flink's dialect that streamlab's API can say.

Understood: ``SELECT … FROM … WHERE … GROUP BY … HAVING``, subqueries and ``WITH``, the windowing table functions
``TUMBLE HOP CUMULATE SESSION`` and the older ``GROUP BY TUMBLE(…)`` functions, ``GROUPING SETS``, ``CUBE``, ``ROLLUP``,
``DISTINCT``, ``UNION [ALL]``, ``INTERSECT [ALL]`` and ``EXCEPT [ALL]``. The rest is `Unsupported`, by name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl
import sqlglot
from conformance_case import Unsupported
from conformance_expressions import Translator, interval_ms, is_aggregate
from sqlglot import exp

import streamlab as sl
from streamlab.frame.group_by import WindowGroupBy

_WINDOW_COLUMNS = ("window_start", "window_end", "window_time")
_TICK_MS = 1
_TVF = re.compile(r"\bTABLE\s*\(\s*(TUMBLE|HOP|CUMULATE|SESSION)\s*\(", re.IGNORECASE)
_LEGACY = {"TUMBLE", "HOP", "SESSION"}


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


def build(text: str, tables: Mapping[str, sl.StreamFrame]) -> sl.StreamFrame:
    """Return the StreamFrame of a query over the given tables."""
    planner = _Planner(tables)
    relation = planner.query(planner.parse(text))
    return relation.frame.select(*relation.columns)


class _Planner:
    def __init__(self, tables: Mapping[str, sl.StreamFrame]) -> None:
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
        names = {name: name for name in _WINDOW_COLUMNS}
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
            relation = _filtered(relation, where.this)
        group, outputs = node.args.get("group"), node.expressions
        aggregates = any(is_aggregate(part) for output in outputs for part in output.walk())
        if group is not None or aggregates:
            result = _Aggregation(relation, node).relation()
        else:
            result = self._project(relation, outputs)
        if node.args.get("distinct"):
            keys = list(result.columns)
            frame = result.frame.group_by(*keys).agg(pl.len().alias("n_rows")).select(*keys)
            result = Relation(frame, result.columns)
        return result

    def _project(self, relation: Relation, outputs: list[exp.Expression]) -> Relation:
        if relation.windowing is not None and relation.windowing.kind == "SESSION":
            relation = _attached(relation)
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


class _Aggregation:
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
            legacy = isinstance(key, exp.Func) and _call_name(key) in _LEGACY
            if legacy:
                arguments = _arguments(key)
                sizes = tuple(interval_ms(e) for e in arguments[1:])
                windowing = Windowing(_call_name(key), arguments[0].name, sizes)
            if legacy or (isinstance(key, exp.Column) and key.name in relation.window_names):
                windowed.append(key)
        plain = [key for key in keys if key not in windowed]
        if windowing is relation.windowing is not None and windowing.kind == "SESSION":
            grouped_by = {key.name if isinstance(key, exp.Column) else key.sql() for key in plain}
            if set(windowing.partition) != grouped_by:
                self._relation = _attached(relation)
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
        frame = _with_event_time(relation, windowing.column)
        grouped = _windows(frame, windowing, expressions)
        result = grouped.agg(*(aggregates or [pl.len().alias("n_rows")]))
        unit = relation.schema[windowing.column]
        bounded = _bounds(result, unit)
        for condition in relation.window_filters:
            bounded = bounded.filter(Translator(bounded.collect_schema(), self._window_column).expression(condition))
        return self._finish(bounded, named, all_keys, time="w_time")

    def _window_column(self, node: exp.Expression) -> pl.Expr | None:
        role = _role(node, self._relation.window_names)
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
        frame = _with_event_time(relation, relation.window_time).rename({relation.window_time: "w_at"})
        frame = frame.with_columns(pl.col("w_at").alias("w_time"))
        grouped = frame.group_by_dynamic(
            "w_at", every=f"{_TICK_MS}ms", group_by=[*keys, *carried, pl.col("w_time")]
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
            if _call_name(node) in {"GROUPING_ID", "GROUPING"}:
                bits = "".join("0" if a.sql() in named else "1" for a in _arguments(node))
                return pl.lit(int(bits, 2), pl.Int64)
            if text in calls:
                return pl.col(calls[text])
            if text in named:
                return pl.col(named[text])
            if role := _role(node, names):
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
            if role := _role(inner, names):
                window_names[name] = "window_" + role.removeprefix("w_")
        hidden = [pl.col(time).alias("w_time_hidden")] if time is not None else []
        frame = frame.select(*expressions, *hidden)
        return Relation(frame, tuple(columns), None, "w_time_hidden" if time else None, window_names)


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


def _call_name(node: exp.Expression) -> str:
    if isinstance(node, exp.Anonymous):
        return node.name.upper().removesuffix("_WINDOW")
    return node.sql_name() if isinstance(node, exp.Func) else ""


def _arguments(node: exp.Expression) -> list[exp.Expression]:
    return list(node.expressions) if isinstance(node, exp.Anonymous) else list(node.iter_expressions())


def _role(node: exp.Expression, names: Mapping[str, str]) -> str | None:
    """Return which window column of an aggregation's result an expression is."""
    if isinstance(node, exp.Column) and node.name in names:
        return "w_" + names[node.name].removeprefix("window_")
    kind, _, part = _call_name(node).partition("_")
    roles = {"START": "w_start", "END": "w_end", "ROWTIME": "w_time"}
    return roles.get(part) if kind in _LEGACY else None


def _filtered(relation: Relation, condition: exp.Expression) -> Relation:
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


def _attached(relation: Relation) -> Relation:
    """Return the rows of session windows with their window's columns, given when the session closes."""
    windowing = relation.windowing
    if windowing is None:
        return relation
    keys = list(windowing.partition)
    others = [name for name in relation.schema if name not in keys]
    grouped = _windows(_with_event_time(relation, windowing.column), windowing, [pl.col(key) for key in keys])
    lists = grouped.agg(pl.col(name).implode().alias(f"row_{name}") for name in others)
    bounded = _bounds(lists, relation.schema[windowing.column])
    rows = bounded.explode([f"row_{name}" for name in others]).select(
        *keys,
        *(pl.col(f"row_{name}").alias(name) for name in others),
        *(pl.col("w_" + name.removeprefix("window_")).alias(name) for name in _WINDOW_COLUMNS),
        pl.col("w_time").alias("w_time_hidden"),
    )
    names = {name: name for name in _WINDOW_COLUMNS}
    done = replace(relation, frame=rows, windowing=None, window_time="w_time_hidden", window_names=names)
    done = replace(done, window_filters=())
    for condition in relation.window_filters:
        done = _filtered(done, condition)
    return done


def _with_event_time(relation: Relation, column: str) -> sl.StreamFrame:
    """Return the frame with `column` as its event time; results of windows are given a watermark anew."""
    return relation.frame.with_watermark(column, "0s") if relation.window_time is not None else relation.frame


def _windows(frame: sl.StreamFrame, windowing: Windowing, keys: list[pl.Expr]) -> WindowGroupBy[sl.StreamFrame]:
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


def _bounds(frame: sl.StreamFrame, dtype: pl.DataType) -> sl.StreamFrame:
    """Name the edges of windows as SQL does: in a time zone, start and end are local times, window_time an instant."""
    edges = frame.with_columns(
        pl.col("_lower_boundary").alias("w_start"),
        pl.col("_upper_boundary").alias("w_end"),
        (pl.col("_upper_boundary") - pl.duration(milliseconds=_TICK_MS)).alias("w_time"),
    )
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return edges.with_columns(pl.col("w_start", "w_end").dt.replace_time_zone(None))
    return edges
