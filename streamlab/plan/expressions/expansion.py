"""What a user wrote as arguments of ``agg`` or ``select``, as expressions with one output column each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType
from typing import Any

import polars as pl

from streamlab.core.column_names.own_columns import PREFIX
from streamlab.core.errors import OptionError, explained
from streamlab.plan.empty import empty_frame
from streamlab.plan.expressions.tree import (
    Tree,
    UnknownShape,
    body,
    column,
    kind,
    operation,
    to_expr,
    to_tree,
    walk,
    with_children,
)


def parse(*expressions: Any, **named: Any) -> tuple[pl.Expr, ...]:
    """Return arguments of ``agg`` or ``select`` as expressions, by Polars' rules.

    A string is a column's name, anything that is no expression is a literal, one iterable stands for its items, and
    keywords are output names.

    Raises
    ------
    OptionError
        If the only argument is a mapping, or one is a function.

    Examples
    --------
    >>> [str(e) for e in parse(["a", pl.len()], n=1)]
    ['col("a")', 'len()', 'dyn int: 1.alias("n")']
    """
    items: Iterable[Any] = expressions
    if len(expressions) == 1:
        only = expressions[0]
        if isinstance(only, Mapping):
            raise OptionError(
                explained(
                    "expressions",
                    needed="expressions or names of columns",
                    got="a mapping",
                    hint=_from_mapping(only),
                )
            )
        if isinstance(only, Iterable) and not isinstance(only, str | bytes | pl.Series):
            items = only
    return (*map(_expression, items), *(_expression(value).alias(name) for name, value in named.items()))


def _from_mapping(given: Mapping[Any, Any]) -> str:
    """Return what to write instead of a mapping, which in pandas says how each column is aggregated."""
    name, how = next(iter(given.items()), ("x", None))
    if isinstance(how, str) and hasattr(pl.Expr, how):
        return f"one expression for each: pl.col({name!r}).{how}()"
    return "unpack it: **mapping"


def _expression(value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, FunctionType | BuiltinFunctionType | partial):
        hint = "write with columns, as in pl.col('x') + 1; map_batches(function) calls Python with whole batches"
        raise OptionError(
            explained("expressions", needed="expressions or names of columns", got="a function", hint=hint)
        )
    return pl.col(value) if isinstance(value, str) else pl.lit(value)


def expand(expressions: Iterable[pl.Expr], schema: pl.Schema, keys: Sequence[pl.Expr] = ()) -> tuple[pl.Expr, ...]:
    """Return the expressions with selectors resolved: one output column each, under a definite name.

    Parameters
    ----------
    expressions
        As the user wrote them.
    schema
        Of the input.
    keys
        Of the group_by that the expressions are aggregated in. Polars leaves them out of ``pl.all()`` and the like; for
        windows, give the index column too.

    Returns
    -------
    tuple[pl.Expr, ...]
        In the order of Polars' own output columns. An expression that Polars expands by rules not known here is
        returned as it is.

    Raises
    ------
    polars.exceptions.PolarsError
        If an expression does not fit the schema.

    Examples
    --------
    >>> schema = pl.Schema({"k": pl.Int64, "a": pl.Int64, "b": pl.Float64})
    >>> [str(e) for e in expand([pl.all().sum().name.suffix("_s")], schema, [pl.col("k")])]
    ['col("a").sum().name.suffix(_s).alias("a_s")', 'col("b").sum().name.suffix(_s).alias("b_s")']
    """
    context = _Context(schema, keys)
    return tuple(single for expression in expressions for single in _expanded(expression, context))


def output_columns(
    expression: pl.Expr, schema: pl.Schema, keys: Sequence[pl.Expr] = ()
) -> list[tuple[str, pl.DataType]]:
    """Return names and dtypes of the columns that an expression gives in ``agg`` (with `keys`) or ``select``."""
    return _Context(schema, keys).columns([expression])


class _Context:
    """Types expressions where they stand: in an ``agg`` with keys, or in a ``select``."""

    def __init__(self, schema: pl.Schema, keys: Sequence[pl.Expr]) -> None:
        self.frame = empty_frame(schema)
        self.keys = keys
        self.key_count = len(self.frame.select(keys).collect_schema()) if keys else 0
        self._chosen: dict[str, list[str]] = {}

    def columns(self, expressions: Sequence[pl.Expr]) -> list[tuple[str, pl.DataType]]:
        """Return names and dtypes of what the expressions give."""
        if not self.keys:
            return list(self.frame.select(expressions).collect_schema().items())
        return list(self.frame.group_by(self.keys).agg(expressions).collect_schema().items())[self.key_count :]

    def chosen_by(self, selector: Tree) -> list[str]:
        """Return the columns that a selector stands for."""
        text = repr(selector)
        if text not in self._chosen:
            # A prefix, because a selector may name a key on purpose, and a group_by gives no column twice.
            found = self.columns([to_expr(selector).name.prefix(PREFIX)])
            self._chosen[text] = [name.removeprefix(PREFIX) for name, _ in found]
        return self._chosen[text]


def _expanded(expression: pl.Expr, context: _Context) -> list[pl.Expr]:
    wanted = context.columns([expression])
    try:
        tree = to_tree(expression)
        selectors = [node for node in walk(tree) if kind(node) == "Selector"]
        several = any(operation(node) == "StructExpr.SelectFields" for node in walk(tree))
    except UnknownShape:
        return [expression.alias(wanted[0][0])] if len(wanted) == 1 else [expression]
    if several:
        return [expression]
    if not selectors:
        return [_named(expression, wanted[0][0])]
    singles = [to_expr(_chosen(tree, at, context)) for at in range(len(wanted))]
    try:
        found = [context.columns([single]) for single in singles]
    except pl.exceptions.PolarsError:
        return [expression]
    if found != [[column] for column in wanted]:
        return [expression]
    return [_named(single, name) for single, (name, _) in zip(singles, wanted, strict=True)]


def _named(expression: pl.Expr, name: str) -> pl.Expr:
    return expression if kind(to_tree(expression)) in {"Column", "Alias"} else expression.alias(name)


_TAKES_ALL = frozenset(
    (
        "AsStruct",
        "Boolean.AllHorizontal",
        "Boolean.AnyHorizontal",
        "Coalesce",
        "FoldHorizontal",
        "ListExpr.Concat",
        "MaxHorizontal",
        "MeanHorizontal",
        "MinHorizontal",
        "ReduceHorizontal",
        "StringExpr.ConcatHorizontal",
        "StringExpr.Format",
        "SumHorizontal",
    )
)
"""Functions that take all columns of a selector as their inputs, rather than being repeated for each of them."""


def _chosen(tree: Tree, at: int, context: _Context) -> Tree:
    """Return the tree with every selector replaced by its column number `at`."""
    if kind(tree) == "Selector":
        names = context.chosen_by(tree)
        return column(names[at if len(names) > 1 else 0]) if names else tree
    if operation(tree) in _TAKES_ALL:
        inputs = [
            child
            for one in body(tree)["input"]
            for child in (
                map(column, context.chosen_by(one)) if kind(one) == "Selector" else (_chosen(one, at, context),)
            )
        ]
        return {"Function": {**body(tree), "input": inputs}}
    return with_children(tree, lambda child: _chosen(child, at, context))
