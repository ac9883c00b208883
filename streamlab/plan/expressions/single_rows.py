"""The partial result of one row, without grouping: what lets rows whose keys hardly repeat be sent on as they are."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.plan.empty import empty_frame
from streamlab.plan.expressions.rowwise import rowwise_problem
from streamlab.plan.expressions.tree import Tree, UnknownShape, children, kind, operation, to_expr, to_tree, walk
from streamlab.plan.expressions.tree import with_children as rebuilt

_KEY, _ROW = own("key"), own("row")


def of_single_rows(partial: Sequence[pl.Expr], schema: pl.Schema) -> tuple[pl.Expr, ...]:
    """Return row-wise expressions that give for each row what `partial` gives for a group of that row alone.

    Parameters
    ----------
    partial
        Aggregations, each with a name.
    schema
        Of the input rows.

    Returns
    -------
    tuple of pl.Expr
        With the same names and dtypes; empty when some aggregation has no such form that is known.

    Examples
    --------
    >>> schema = pl.Schema({"a": pl.Int32})
    >>> (single,) = of_single_rows([pl.col("a").sum().alias("s")], schema)
    >>> pl.DataFrame({"a": [3, None]}, schema).select(single)["s"].to_list()
    [3, 0]
    >>> of_single_rows([pl.col("a").var().alias("v")], schema)
    ()
    """
    try:
        singles = [to_expr(_row(to_tree(expression), schema)) for expression in partial]
    except UnknownShape:
        return ()
    frame = empty_frame(schema)
    wanted = frame.group_by(pl.lit(0).alias(_KEY)).agg(partial).drop(_KEY).collect_schema()
    found = frame.select(pl.int_range(pl.len()).alias(_ROW), *singles).drop(_ROW).collect_schema()
    return tuple(singles) if wanted == found else ()


def _row(tree: Tree, schema: pl.Schema) -> Tree:
    """Return the tree for single rows of an expression that aggregates; UnknownShape when there is none."""
    if kind(tree) == "Len":
        return to_tree(pl.lit(1, pl.get_index_type()))
    if kind(tree) == "Agg":
        return to_tree(_leaf(tree, schema))
    if not children(tree) and kind(tree) != "Literal":
        msg = f"{kind(tree)} outside an aggregation"
        raise UnknownShape(msg)
    return rebuilt(tree, lambda child: _row(child, schema))


def _leaf(tree: Tree, schema: pl.Schema) -> pl.Expr:
    (child,) = children(tree)
    values = to_expr(child)
    if any(kind(node) == "Filter" for node in walk(child)) or rowwise_problem(values, schema) is not None:
        msg = f"{operation(tree)} of more than the row"
        raise UnknownShape(msg)
    match operation(tree):
        case "Sum":
            dtype = empty_frame(schema).select(to_expr(tree).alias("sum")).collect_schema()["sum"]
            return values.cast(dtype).fill_null(pl.lit(0).cast(dtype))
        case "Count":
            return values.is_not_null().cast(pl.get_index_type())
        case "Min" | "Max":
            return values
        case other:
            msg = f"{other} of a single row"
            raise UnknownShape(msg)
