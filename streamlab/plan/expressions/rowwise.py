"""What the rows of an expression depend on: each on its own input row, on all rows at once, or on some others.

Polars' own ``expr.meta.is_row_separable()`` looks at the topmost node only (``col("a") - col("a").mean()`` counts as
separable) and calls ``filter`` separable, which changes the number of rows. So the tree is walked here, and Polars is
asked about one function at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import polars as pl

from streamlab.plan.empty import empty_frame
from streamlab.plan.expressions.tree import (
    FOLDS,
    Tree,
    UnknownShape,
    body,
    children,
    in_words,
    kind,
    member,
    operation,
    payload,
    to_expr,
    to_tree,
    with_children,
)


class Extent(Enum):
    """What one output row of an expression depends on."""

    LITERAL = "literal"
    """On nothing: the same value for every row."""
    ROWS = "rows"
    """On its own input row, and literals."""
    SCALAR = "scalar"
    """On all input rows; there is one output row."""
    OTHER = "other"
    """On other rows too, or nobody knows."""


@dataclass(frozen=True)
class Verdict:
    """The extent of an expression and, unless it is row-wise, which part of it makes it so."""

    extent: Extent
    reason: str = ""


_ROWS = Verdict(Extent.ROWS)
_LITERAL = Verdict(Extent.LITERAL)
_LONG = 10_000
_MAKERS = {"Repeat"}
"""Functions, besides ranges, whose rows come from nowhere."""


def rowwise_problem(expression: pl.Expr, schema: pl.Schema) -> str | None:
    """Return why an expression can't run on a stream batch by batch; None when each row depends on itself only.

    Literals are fine here, although ``select(pl.lit(1))`` gives one row whatever the input: see :func:`is_literal`.
    A function given to ``map_elements`` is row-wise, one given to ``map_batches`` only with ``is_elementwise=True``.

    Examples
    --------
    >>> schema = pl.Schema({"a": pl.Int64})
    >>> rowwise_problem(pl.col("a") * 2, schema)
    >>> rowwise_problem(pl.col("a").cum_sum() * 2, schema)
    'cum_sum looks at other rows'
    >>> rowwise_problem(pl.col("a") - pl.col("a").mean(), schema)
    'mean aggregates the whole stream'
    """
    verdict = examine(expression, schema)
    return None if verdict.extent in {Extent.ROWS, Extent.LITERAL} else verdict.reason


def is_aggregation(expression: pl.Expr) -> bool:
    """Return whether the expression reduces all rows to one: aggregations, and row-wise functions of them.

    Examples
    --------
    >>> is_aggregation((pl.col("a").sum() / pl.len()).round(2))
    True
    >>> is_aggregation(pl.lit(1)), is_aggregation(pl.col("a"))
    (False, False)
    """
    return examine(expression).extent is Extent.SCALAR


def is_literal(expression: pl.Expr) -> bool:
    """Return whether the expression reads no column and no row count, so that ``select`` of it gives one row.

    >>> is_literal(pl.lit(1) + 1), is_literal(pl.len())
    (True, False)
    """
    return examine(expression).extent is Extent.LITERAL


def examine(expression: pl.Expr, schema: pl.Schema | None = None) -> Verdict:
    """Return what the rows of the expression depend on; with a schema, more is known about ``is_in``."""
    try:
        return examine_tree(to_tree(expression), schema)
    except UnknownShape as error:
        return Verdict(Extent.OTHER, f"this expression cannot be read: {error}")


def examine_tree(tree: Tree, schema: pl.Schema | None = None) -> Verdict:
    """Return what the rows of a tree depend on.

    Raises
    ------
    UnknownShape
        If it has a node that is not known.
    """
    judge = _JUDGES.get(kind(tree))
    if judge is None:
        children(tree)
        return Verdict(Extent.OTHER, f"{in_words(tree)} looks at other rows")
    return judge(tree, schema)


def is_rowwise_node(tree: Tree) -> bool:
    """Return whether the topmost node, whatever its inputs are, gives each row from the inputs' same row."""
    if not children(tree):
        return False

    def plainly(child: Tree) -> Tree:
        return child if kind(child) == "Literal" and _literal(child, None) is _LITERAL else {"Column": "a"}

    plain = with_children(tree, plainly)
    return examine_tree(plain).extent in {Extent.ROWS, Extent.LITERAL}


def _reads_row(_: Tree, _schema: pl.Schema | None) -> Verdict:
    return _ROWS


def _literal(tree: Tree, _: pl.Schema | None) -> Verdict:
    if kind(body(tree)) in {"Dyn", "Scalar"}:
        return _LITERAL
    return Verdict(Extent.OTHER, "a Series has rows of its own")


def _resizes(tree: Tree, _: pl.Schema | None) -> Verdict:
    return Verdict(Extent.OTHER, f"{in_words(tree)} inside an expression changes the number of rows")


def _gathers(tree: Tree, schema: pl.Schema | None) -> Verdict:
    return _aggregates(tree, schema) if member(tree, "returns_scalar") is True else _resizes(tree, schema)


def _aggregates(tree: Tree, _: pl.Schema | None) -> Verdict:
    is_len = kind(tree) == "Agg" and operation(tree) == "Count" and payload(tree).get("include_nulls") is True
    return Verdict(Extent.SCALAR, f"{'len' if is_len else in_words(tree)} aggregates the whole stream")


def _combined(tree: Tree, schema: pl.Schema | None) -> Verdict:
    """Return the verdict on a row-wise function of the children."""
    verdicts = [examine_tree(child, schema) for child in children(tree)]
    for extent in (Extent.OTHER, Extent.SCALAR, Extent.ROWS):
        worst = next((verdict for verdict in verdicts if verdict.extent is extent), None)
        if worst is None:
            continue
        if extent is Extent.SCALAR and any(verdict.extent is Extent.ROWS for verdict in verdicts):
            return Verdict(Extent.OTHER, worst.reason)
        return worst
    return _LITERAL


def _evaluates(tree: Tree, schema: pl.Schema | None) -> Verdict:
    if kind(member(tree, "variant")) in {"List", "ListAgg", "Array"}:
        # What is evaluated sees the elements of one row's list only.
        return examine_tree(children(tree)[0], schema)
    return Verdict(Extent.OTHER, f"{in_words(tree)} looks at other rows")


def _python(tree: Tree, schema: pl.Schema | None) -> Verdict:
    flags = {flag.strip() for flag in str(member(tree, "options", "flags")).split("|")}
    if "RETURNS_SCALAR" in flags:
        return Verdict(Extent.SCALAR, "a Python function that returns a scalar aggregates the whole stream")
    if {"ROW_SEPARABLE", "LENGTH_PRESERVING"} <= flags:
        return _combined(tree, schema)
    return Verdict(
        Extent.OTHER,
        "a Python function sees a whole batch; map_batches(..., is_elementwise=True) says that it looks at single rows",
    )


def _function(tree: Tree, schema: pl.Schema | None) -> Verdict:
    name = operation(tree)
    if name.startswith("StructExpr."):
        return _combined(tree, schema)
    if name in FOLDS:
        return Verdict(
            Extent.OTHER,
            f"the Python function of {in_words(tree)} sees whole columns of a batch; "
            "pl.map_batches([…], is_elementwise=True) takes one that looks at single rows",
        )
    inputs = children(tree)
    # With nothing but literals, Polars answers for the literals; with a column it answers for the function.
    literal = [kind(child) == "Literal" and not (at == 0 and _all_literals(inputs)) for at, child in enumerate(inputs)]
    probe = [child if is_one else {"Column": "a"} for child, is_one in zip(inputs, literal, strict=True)]
    if name in {"DropNulls", "DropNans"}:
        return _resizes(tree, schema)
    question = json.dumps({"Function": {**body(tree), "input": probe}})
    # A function may hold a literal of any size, which is not worth remembering.
    nature = _nature(question) if len(question) < _LONG else _nature.__wrapped__(question)
    if nature is Extent.SCALAR:
        return _aggregates(tree, schema)
    if nature is not Extent.ROWS or (name == "Boolean.IsIn" and _searches_column(inputs[1], schema)):
        does = "gives rows of its own" if name in _MAKERS or name.startswith("Range.") else "looks at other rows"
        return Verdict(Extent.OTHER, f"{in_words(tree)} {does}")
    if name.startswith("Business.") or (name == "Boolean.IsIn" and _is_one_collection(inputs[1])):
        # The holidays, or the values that are looked for, are a Series literal that is not paired with the rows.
        tree = {"Function": {**body(tree), "input": [child for child in inputs if kind(child) != "Literal"]}}
    return _combined(tree, schema)


def _all_literals(inputs: list[Tree]) -> bool:
    return all(kind(child) == "Literal" for child in inputs)


def _is_one_collection(haystack: Tree) -> bool:
    """Return whether ``is_in`` looks for every row in the same values: those of a Series, or of its only list."""
    if kind(haystack) != "Literal" or kind(body(haystack)) in {"Dyn", "Scalar"}:
        return False
    values = pl.select(to_expr(haystack)).to_series()
    return not values.dtype.is_nested() or len(values) == 1


def _searches_column(haystack: Tree, schema: pl.Schema | None) -> bool:
    """Return whether ``is_in`` looks through a whole column rather than through the row's own list."""
    if kind(haystack) == "Literal" or schema is None:
        return False
    return not empty_frame(schema).select(to_expr(haystack)).collect_schema().dtypes()[0].is_nested()


@lru_cache(maxsize=1024)
def _nature(probe: str) -> Extent:
    """Return what Polars says of one function over plain columns."""
    try:
        meta = to_expr(json.loads(probe)).meta
        if meta.is_row_separable() and meta.is_length_preserving():
            return Extent.ROWS
        return Extent.SCALAR if meta.is_scalar() else Extent.OTHER
    except pl.exceptions.PolarsError:
        # Polars needs the schema, or literal arguments, to plan it; whatever it is, it is not known to be row-wise.
        return Extent.OTHER


_JUDGES: dict[str, Callable[[Tree, pl.Schema | None], Verdict]] = {
    **dict.fromkeys(("Column", "Selector", "Element", "Field"), _reads_row),
    **dict.fromkeys(("Alias", "KeepName", "RenameAlias", "BinaryExpr", "Cast", "Ternary", "StructEval"), _combined),
    **dict.fromkeys(("Filter", "Explode", "Slice"), _resizes),
    **dict.fromkeys(("Len", "Agg"), _aggregates),
    "Literal": _literal,
    "Gather": _gathers,
    "Eval": _evaluates,
    "AnonymousFunction": _python,
    "Function": _function,
}
"""By kind of node; every other kind that is known looks at other rows."""
