"""Expressions over the same columns under other names."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from streamlab.plan.expressions.tree import Tree, UnknownShape, alias, body, children, column, kind, to_expr, to_tree
from streamlab.plan.expressions.tree import with_children as rebuilt


def renamed(expression: pl.Expr, names: Callable[[str], str]) -> pl.Expr:
    """Return an expression in which columns that are read, and results, have other names.

    Of one whose form is not known only the result has.

    Examples
    --------
    >>> str(renamed((pl.col("a") + pl.col("b")).sum().alias("a"), {"a": "x", "b": "b"}.__getitem__))
    '[(col("x")) + (col("b"))].sum().alias("x")'
    """

    def change(tree: Tree) -> Tree:
        match kind(tree):
            case "Column":
                return column(names(body(tree)))
            case "Alias":
                return alias(change(children(tree)[0]), names(body(tree)[1]))
            case _:
                return rebuilt(tree, change)

    try:
        return to_expr(change(to_tree(expression)))
    except UnknownShape:
        name = expression.meta.output_name()
        return expression if names(name) == name else expression.alias(names(name))
