"""SQL expressions, with the meaning of Flink's SQL, as Polars expressions.

Where SQL and Polars differ: ``SUM`` of no values is null, ``AVG`` of integers and integer division truncate towards
zero, ``COUNT(x)`` and ``COUNT(DISTINCT x)`` skip nulls, ``MOD`` takes the sign of the dividend, ``AND``/``OR`` are
three-valued (in Polars too), ``LISTAGG`` skips nulls.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import polars as pl
from conformance_case import Unsupported, timestamp
from sqlglot import exp

_UNITS = {"MILLISECOND": 1, "SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000, "WEEK": 604_800_000}
_TYPES = {
    "TINYINT": pl.Int8, "SMALLINT": pl.Int16, "INT": pl.Int32, "BIGINT": pl.Int64,
    "FLOAT": pl.Float32, "REAL": pl.Float32, "DOUBLE": pl.Float64, "BOOLEAN": pl.Boolean,
    "STRING": pl.String, "VARCHAR": pl.String, "CHAR": pl.String, "TEXT": pl.String, "DATE": pl.Date,
    "TIMESTAMP": pl.Datetime("ms"), "TIMESTAMP_LTZ": pl.Datetime("ms", "UTC"),
}  # fmt: skip
_AGGREGATE_NAMES = {
    "LISTAGG", "SUM0", "PERCENTILE", "COLLECT", "LIST_AGG", "STRING_AGG", "FIRST_VALUE", "LAST_VALUE", "SINGLE_VALUE",
}  # fmt: skip


def dtype_of(name: str, scale: int = 2) -> pl.DataType:
    """Return the Polars dtype of a SQL type name; decimals without a scale get `scale` digits."""
    head = name.upper().split(" AS ")[0].strip()
    base = head.split("(")[0].strip()
    if base in {"DECIMAL", "NUMERIC"}:
        digits = [int(part) for part in head[len(base) :].strip("() ").split(",") if part.strip()]
        return pl.Decimal(38, digits[1] if len(digits) > 1 else 0 if digits else scale)
    if base not in _TYPES:
        msg = f"the type {name}"
        raise Unsupported(msg)
    dtype = _TYPES[base]
    return dtype() if isinstance(dtype, type) else dtype


def interval_ms(node: exp.Expression) -> int:
    """Return a constant ``INTERVAL`` in milliseconds."""
    if isinstance(node, exp.Neg):
        return -interval_ms(node.this)
    if isinstance(node, exp.Interval) and node.unit is not None:
        unit = node.unit.name.upper().removesuffix("S")
        if unit in _UNITS:
            return int(Decimal(node.this.name if node.this.is_string else str(node.this)) * _UNITS[unit])
    msg = f"the interval {node.sql()}"
    raise Unsupported(msg)


def is_aggregate(node: exp.Expression) -> bool:
    """Return whether this node itself (not one below it) is an aggregate call."""
    if isinstance(node, exp.Filter):
        return True
    if isinstance(node, exp.Anonymous):
        return node.name.upper() in _AGGREGATE_NAMES
    return isinstance(node, exp.AggFunc) and not isinstance(node, exp.Grouping | exp.GroupingId)


Resolver = Callable[[exp.Expression], pl.Expr | None]


class Translator:
    """Turns SQL expressions over rows of one schema into Polars expressions.

    Parameters
    ----------
    schema
        Columns of the rows.
    resolve
        Asked first about every node, so that a caller can put a column in the place of a whole expression.
    """

    def __init__(self, schema: pl.Schema, resolve: Resolver | None = None) -> None:
        self._schema = schema
        self._resolve = resolve

    def dtype(self, expression: pl.Expr) -> pl.DataType:
        """Return the type of an expression over the rows."""
        return pl.DataFrame(schema=self._schema).select(expression.alias("x")).schema["x"]

    def expression(self, node: exp.Expression) -> pl.Expr:
        """Translate one expression; aggregates in it become Polars aggregates."""
        if self._resolve is not None and (found := self._resolve(node)) is not None:
            return found
        if is_aggregate(node):
            return self._aggregate(node)
        return self._scalar(node)

    # -- row-wise ----------------------------------------------------------------------------------------------------

    def _scalar(self, node: exp.Expression) -> pl.Expr:
        match node:
            case exp.Paren():
                return self.expression(node.this)
            case exp.Column():
                return self._column(node.name)
            case exp.Null():
                return pl.lit(None)
            case exp.Boolean():
                return pl.lit(bool(node.this))
            case exp.Literal():
                return self._literal(node)
            case exp.Neg():
                return -self.expression(node.this)
            case exp.Not():
                return ~self.expression(node.this)
            case exp.Is():
                return self._is(node)
            case exp.Between():
                value = self.expression(node.this)
                return (value >= self.expression(node.args["low"])) & (value <= self.expression(node.args["high"]))
            case exp.In():
                return pl.any_horizontal(self.expression(node.this) == self.expression(v) for v in node.expressions)
            case exp.Cast() if isinstance(node.this, exp.Literal) and node.this.is_string and "TIME" in node.to.sql():
                return pl.lit(timestamp(node.this.name), pl.Datetime("ms"))
            case exp.Cast():
                return self.expression(node.this).cast(dtype_of(node.to.sql()))
            case exp.Case():
                return self._case(node)
            case exp.If():
                return self._choice(node.this, node.args["true"], node.args.get("false"))
            case exp.Binary():
                return self._binary(node)
            case exp.Func():
                return self._function(node)
        msg = f"the expression {node.sql()}"
        raise Unsupported(msg)

    def _column(self, name: str) -> pl.Expr:
        if name not in self._schema:
            msg = f"the column {name}"
            raise Unsupported(msg)
        return pl.col(name)

    def _literal(self, node: exp.Literal) -> pl.Expr:
        if node.is_string:
            return pl.lit(node.name)
        return pl.lit(float(node.name), pl.Float64) if "." in node.name else pl.lit(int(node.name), pl.Int64)

    def _is(self, node: exp.Is) -> pl.Expr:
        value = self.expression(node.this)
        if isinstance(node.expression, exp.Null):
            return value.is_null()
        return value.eq_missing(self.expression(node.expression))

    def _case(self, node: exp.Case) -> pl.Expr:
        result = self.expression(node.args["default"]) if node.args.get("default") else pl.lit(None)
        for branch in reversed(node.args["ifs"]):
            test = self.expression(branch.this)
            if node.this is not None:
                test = self.expression(node.this) == test
            result = pl.when(test).then(self.expression(branch.args["true"])).otherwise(result)
        return result

    def _choice(self, test: exp.Expression, yes: exp.Expression, no: exp.Expression | None) -> pl.Expr:
        other = self.expression(no) if no is not None else pl.lit(None)
        return pl.when(self.expression(test)).then(self.expression(yes)).otherwise(other)

    def _binary(self, node: exp.Binary) -> pl.Expr:
        if isinstance(node.expression, exp.Interval):
            shift = pl.lit(dt.timedelta(milliseconds=interval_ms(node.expression)), pl.Duration("ms"))
            left = self.expression(node.this)
            return left + shift if isinstance(node, exp.Add) else left - shift
        left, right = self.expression(node.this), self.expression(node.expression)
        for text, other in ((node.expression, left), (node.this, right)):
            if isinstance(text, exp.Literal) and text.is_string and isinstance(self.dtype(other), pl.Datetime):
                moment = pl.lit(timestamp(text.name), pl.Datetime("ms"))
                left, right = (left, moment) if text is node.expression else (moment, right)
        simple: dict[type[exp.Expression], Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
            exp.And: lambda a, b: a & b,
            exp.Or: lambda a, b: a | b,
            exp.EQ: lambda a, b: a == b,
            exp.NEQ: lambda a, b: a != b,
            exp.GT: lambda a, b: a > b,
            exp.GTE: lambda a, b: a >= b,
            exp.LT: lambda a, b: a < b,
            exp.LTE: lambda a, b: a <= b,
            exp.Add: lambda a, b: a + b,
            exp.Sub: lambda a, b: a - b,
            exp.Mul: lambda a, b: a * b,
            exp.NullSafeEQ: lambda a, b: a.eq_missing(b),
            exp.NullSafeNEQ: lambda a, b: a.ne_missing(b),
            exp.DPipe: lambda a, b: a + b,
        }
        if type(node) in simple:
            return simple[type(node)](left, right)
        if isinstance(node, exp.Div):
            integers = self.dtype(left).is_integer() and self.dtype(right).is_integer()
            return truncated(left, right) if integers else left / right
        if isinstance(node, exp.Mod):
            return left - truncated(left, right) * right
        if isinstance(node, exp.Like):
            pattern = node.expression.name.replace("%", "\0").replace("_", "\1")
            escaped = "".join(f"\\{c}" if c in r"\.^$*+?{}[]|()" else c for c in pattern)
            return left.str.contains("^(?s:" + escaped.replace("\0", ".*").replace("\1", ".") + ")$")
        msg = f"the expression {node.sql()}"
        raise Unsupported(msg)

    def _function(self, node: exp.Func) -> pl.Expr:
        match node:
            case exp.Coalesce():
                return pl.coalesce(self.expression(node.this), *(self.expression(e) for e in node.expressions))
            case exp.Substring():
                start = int(node.args["start"].name) - 1
                length = node.args.get("length")
                return self.expression(node.this).str.slice(start, int(length.name) if length is not None else None)
            case exp.Upper():
                return self.expression(node.this).str.to_uppercase()
            case exp.Lower():
                return self.expression(node.this).str.to_lowercase()
            case exp.Length():
                return self.expression(node.this).str.len_chars().cast(pl.Int64)
            case exp.Abs():
                return self.expression(node.this).abs()
            case exp.Floor():
                return self.expression(node.this).floor()
            case exp.Ceil():
                return self.expression(node.this).ceil()
            case exp.Concat():
                return pl.concat_str(*(self.expression(e).cast(pl.String) for e in node.expressions))
            case exp.Nullif():
                value = self.expression(node.this)
                return pl.when(value != self.expression(node.expression)).then(value)
        name = node.name.upper() if isinstance(node, exp.Anonymous) else node.sql_name()
        if name == "MOD" and isinstance(node, exp.Anonymous):
            left, right = (self.expression(e) for e in node.expressions)
            return left - truncated(left, right) * right
        if name in {"TO_TIMESTAMP", "TIMESTAMP"} and node.find(exp.Literal):
            return pl.lit(timestamp(node.find(exp.Literal).name), pl.Datetime("ms"))
        msg = f"the function {name}"
        raise Unsupported(msg)

    # -- aggregates --------------------------------------------------------------------------------------------------

    def _aggregate(self, node: exp.Expression) -> pl.Expr:
        condition: pl.Expr | None = None
        if isinstance(node, exp.Filter):
            condition = self.expression(node.expression.this)
            node = node.this
        name = node.name.upper() if isinstance(node, exp.Anonymous) else type(node).__name__
        arguments = list(node.expressions) if isinstance(node, exp.Anonymous) else [node.this]
        if isinstance(node, exp.GroupConcat):
            arguments = [node.this, node.args.get("separator") or exp.Literal.string(",")]
        distinct = bool(arguments) and isinstance(arguments[0], exp.Distinct)
        if distinct:
            arguments = [*arguments[0].expressions, *arguments[1:]]
        if isinstance(node, exp.Count) and not distinct and isinstance(arguments[0], exp.Star | exp.Literal):
            return (condition.fill_null(value=False).sum() if condition is not None else pl.len()).cast(pl.Int64)
        if name in {"PERCENTILE", "LISTAGG", "LIST_AGG", "STRING_AGG", "GroupConcat"}:
            # What follows the first argument is constant, and read where it is needed.
            constants, arguments = arguments[1:], arguments[:1]
            if name == "PERCENTILE" and len(constants) > 1:
                msg = "PERCENTILE with frequencies"
                raise Unsupported(msg)
        values = [self.expression(argument) for argument in arguments]
        value = values[0]
        if isinstance(node, exp.Count) and len(values) > 1:
            value = pl.when(pl.all_horizontal(v.is_not_null() for v in values)).then(pl.struct(values))
        if not value.meta.root_names():
            # A constant must stand once for every row.
            any_column = pl.col(next(iter(self._schema)))
            value = pl.when(any_column.is_null()).then(value).otherwise(value)
        integer = self.dtype(value).is_integer()
        if condition is not None:
            value = value.filter(condition)
        if distinct and not isinstance(node, exp.Max | exp.Min):
            value = value.drop_nulls().unique(maintain_order=True)
        return self._folded(name, node, value, integer=integer)

    def _folded(self, name: str, node: exp.Expression, value: pl.Expr, *, integer: bool) -> pl.Expr:
        match name:
            case "Count":
                return value.count().cast(pl.Int64)
            case "Sum":
                return pl.when(value.count() > 0).then(value.sum())
            case "Avg" if integer:
                return pl.when(value.count() > 0).then(truncated(value.sum(), value.count().cast(pl.Int64)))
            case "Avg":
                return value.mean()
            case "Min" | "MIN":
                return value.min()
            case "Max" | "MAX":
                return value.max()
            case "GroupConcat" | "LISTAGG" | "LIST_AGG" | "STRING_AGG":
                separator = self._separator(node)
                return pl.when(value.count() > 0).then(value.drop_nulls().str.join(separator))
            case "FirstValue" | "First" | "FIRST_VALUE":
                return value.drop_nulls().first()
            case "LastValue" | "Last" | "LAST_VALUE":
                return value.drop_nulls().last()
            case "StddevPop":
                return value.std(ddof=0)
            case "StddevSamp" | "Stddev":
                return value.std()
            case "VariancePop":
                return value.var(ddof=0)
            case "Variance":
                return value.var()
            case "ArrayAgg":
                return value.implode()
            case "PERCENTILE":
                return self._percentile(node, value)
        msg = f"the aggregate {node.sql()}"
        raise Unsupported(msg)

    def _separator(self, node: exp.Expression) -> str:
        literals = [
            argument.name
            for holder in (node, *node.find_all(exp.Distinct))
            for argument in (*holder.expressions, holder.args.get("separator"))
            if isinstance(argument, exp.Literal)
        ]
        return literals[-1] if literals else ","

    def _percentile(self, node: exp.Expression, value: pl.Expr) -> pl.Expr:
        points = node.expressions[1]
        if isinstance(points, exp.Array):
            return pl.concat_list(value.quantile(float(p.name), "linear") for p in points.expressions)
        return value.quantile(float(points.name), "linear")


def truncated(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Return the integer quotient, truncated towards zero."""
    sign = pl.when((left < 0) != (right < 0)).then(-1).otherwise(1)
    return sign * (left.abs() // right.abs())
