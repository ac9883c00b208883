"""Which rows an aggregation reads: its input, taken apart into values and the condition under which a row counts.

``col("a").filter(p).sum()`` and ``col("a").drop_nulls().len()`` select rows, each by itself, and so can be split.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from streamlab.plan.expressions.rowwise import Extent, examine_tree, is_rowwise_node
from streamlab.plan.expressions.tree import Tree, children, kind, operation, to_expr, to_tree


class NotRowwise(ValueError):
    """The input of an aggregation looks at more than single rows; the message says what does."""


@dataclass(frozen=True)
class Selection:
    """Values and which of them count.

    Attributes
    ----------
    kept : Tree
        The values that count.
    condition : Tree | None
        Over all rows, which ones count; None for all.
    value : Tree | None
        One value a row, also for rows that don't count; None when it must not be computed for those: it could fail.
    """

    kept: Tree
    condition: Tree | None = None
    value: Tree | None = None


def select(tree: Tree, schema: pl.Schema) -> Selection:
    """Return what an aggregation with this input reads.

    Raises
    ------
    NotRowwise
        If a value or a condition depends on other rows, or on none.
    """
    if kind(tree) == "Filter":
        value, by = children(tree)
        _check(value, schema)
        _check(by, schema)
        return Selection(kept=tree, condition=by, value=value)
    if kind(tree) == "Function" and operation(tree) in {"DropNulls", "DropNans"}:
        return _dropped(tree, schema)
    if is_rowwise_node(tree):
        conditions = [
            select(child, schema).condition
            for child in children(tree)
            if examine_tree(child).extent is not Extent.LITERAL
        ]
        if any(condition is not None for condition in conditions):
            if any(condition != conditions[0] for condition in conditions):
                msg = "columns filtered in different ways stand side by side"
                raise NotRowwise(msg)
            return Selection(kept=tree, condition=conditions[0])
    _check(tree, schema)
    return Selection(kept=tree, value=tree)


def _dropped(tree: Tree, schema: pl.Schema) -> Selection:
    inner = select(children(tree)[0], schema)
    if inner.value is None:
        msg = f"{operation(tree)} after a function of filtered rows"
        raise NotRowwise(msg)
    value = to_expr(inner.value)
    keeps = value.is_not_null() if operation(tree) == "DropNulls" else value.is_null() | value.is_not_nan()
    condition = keeps if inner.condition is None else to_expr(inner.condition) & keeps
    # One filter rather than a chain: in a group_by, Polars 2.1 sorts `filter(...).drop_nulls()` by stray memory.
    return Selection(to_tree(value.filter(condition)), to_tree(condition), inner.value)


def _check(tree: Tree, schema: pl.Schema) -> None:
    verdict = examine_tree(tree, schema)
    if verdict.extent is Extent.LITERAL:
        msg = "an aggregation of a literal sees one value"
        raise NotRowwise(msg)
    if verdict.extent is not Extent.ROWS:
        raise NotRowwise(verdict.reason.replace("the whole stream", "all rows"))
