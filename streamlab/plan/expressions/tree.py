"""The JSON form of a Polars expression, as a tree that can be walked and rewritten.

This is the only module that knows the shapes of that form. Polars does not promise to keep it, so a test pins every
shape that is known here, and a shape that is not known raises :class:`UnknownShape`; callers then treat the expression
as one that cannot be read, which is slower (its rows are kept) but never wrong.

A node is either a bare name, such as ``"Len"``, or an object with one member, such as ``{"Column": "a"}``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

Tree = Any
"""A node: a ``str``, or a ``dict`` with one member. Treated as immutable."""


class UnknownShape(ValueError):
    """The expression has a node that this module does not know."""


_ITSELF = object()
CHILDREN: dict[str, tuple[object, ...]] = {
    "Len": (),
    "Element": (),
    "Column": (),
    "Literal": (),
    "Selector": (),
    "Field": (),
    "Alias": (0,),
    "KeepName": (_ITSELF,),
    "RenameAlias": ("expr",),
    "BinaryExpr": ("left", "right"),
    "Cast": ("expr",),
    "Ternary": ("predicate", "truthy", "falsy"),
    "Function": ("input",),
    "AnonymousFunction": ("input",),
    "Filter": ("input", "by"),
    "Sort": ("expr",),
    "SortBy": ("expr", "by"),
    "Gather": ("expr", "idx"),
    "Slice": ("input", "offset", "length"),
    "Explode": ("input",),
    "Over": ("function", "partition_by"),
    "Rolling": ("function", "index_column"),
    "Eval": ("expr",),
    "StructEval": ("expr", "evaluation"),
}
"""For each kind of node, the members of its body that hold a child or a list of children.

What an ``Eval`` evaluates is no child: it sees the elements of its input, and Polars lets it read no column.
"""

AGGREGATIONS: dict[str, object] = {
    "Sum": _ITSELF,
    "Mean": _ITSELF,
    "Median": _ITSELF,
    "NUnique": _ITSELF,
    "First": _ITSELF,
    "Last": _ITSELF,
    "FirstNonNull": _ITSELF,
    "LastNonNull": _ITSELF,
    "Min": "input",
    "Max": "input",
    "Count": "input",
    "Implode": "input",
    "Item": "input",
    "Var": 0,
    "Std": 0,
}
"""For each name under ``{"Agg": …}``, where its input is."""


_FAMILIES = frozenset(
    {
        "ArrayExpr",
        "BinaryExpr",
        "Bitwise",
        "Boolean",
        "Business",
        "Categorical",
        "Correlation",
        "Extension",
        "ListExpr",
        "Pow",
        "Random",
        "Range",
        "RollingExpr",
        "RollingExprBy",
        "StringExpr",
        "StructExpr",
        "TemporalExpr",
        "Trigonometry",
    }
)
"""Functions that are written as a family with the function's own name inside."""


def to_tree(expression: pl.Expr) -> Tree:
    """Return the tree of an expression.

    Raises
    ------
    UnknownShape
        If Polars cannot write the expression as JSON.

    Examples
    --------
    >>> to_tree(pl.col("a").sum() + 1)["BinaryExpr"]["left"]
    {'Agg': {'Sum': {'Column': 'a'}}}
    """
    try:
        return json.loads(expression.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, ValueError) as error:
        msg = f"the expression cannot be written as JSON: {error}"
        raise UnknownShape(msg) from error


def to_expr(tree: Tree) -> pl.Expr:
    """Return the expression of a tree."""
    return pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json")


def kind(tree: Tree) -> str:
    """Return the kind of the node: the bare name, or the name of its one member."""
    if isinstance(tree, str):
        return tree
    if isinstance(tree, dict) and len(tree) == 1:
        return str(next(iter(tree)))
    msg = f"not a node: {str(tree)[:80]}"
    raise UnknownShape(msg)


def body(tree: Tree) -> Any:
    """Return what the node holds; an empty dict for a bare name."""
    return {} if isinstance(tree, str) else next(iter(tree.values()))


def member(tree: Tree, *path: str) -> Any:
    """Return what the node's body holds under a path of names.

    Raises
    ------
    UnknownShape
        If it holds nothing there.
    """
    value = body(tree)
    for name in path:
        if not isinstance(value, dict) or name not in value:
            msg = f"node {kind(tree)} without {'.'.join(path)}"
            raise UnknownShape(msg)
        value = value[name]
    return value


def operation(tree: Tree) -> str:
    """Return Polars' inner name of an aggregation or function, and for any other node its kind.

    For instance ``Sum``, ``CumSum``, ``RollingExpr.Mean`` or ``Boolean.Any``.
    """
    return _described(tree)[0]


def payload(tree: Tree) -> Any:
    """Return what an aggregation or function was written with beside its inputs: options, or one bare value."""
    return _described(tree)[1]


def _described(tree: Tree) -> tuple[str, Any]:
    if kind(tree) == "Agg":
        return kind(body(tree)), body(body(tree))
    if kind(tree) != "Function":
        return kind(tree), {}
    function = member(tree, "function")
    name = kind(function)
    if name not in _FAMILIES:
        return name, body(function)
    inner = body(function)
    for deeper in ("function", "function_by", "method"):
        if isinstance(inner, dict) and deeper in inner:
            inner = inner[deeper]
    return f"{name}.{kind(inner)}", body(inner)


def _slots(tree: Tree) -> Iterator[tuple[Any, Any]]:
    """Yield the places (container, member) at which the node's children or lists of children are."""
    name = kind(tree)
    if name == "Agg":
        aggregation = next(iter(body(tree)), None)
        if aggregation not in AGGREGATIONS:
            msg = f"aggregation {aggregation}"
            raise UnknownShape(msg)
        places: tuple[object, ...] = (AGGREGATIONS[aggregation],)
        holder = body(tree)
        member: Any = aggregation
    elif name in CHILDREN:
        places, holder, member = CHILDREN[name], tree, name
    else:
        msg = f"node {name}"
        raise UnknownShape(msg)
    for place in places:
        if place is _ITSELF:
            yield holder, member
        else:
            try:
                holder[member][place]
            except (KeyError, IndexError, TypeError) as error:
                msg = f"node {name} without {place}"
                raise UnknownShape(msg) from error
            yield holder[member], place


def children(tree: Tree) -> list[Tree]:
    """Return the node's inputs, in order.

    Raises
    ------
    UnknownShape
        If the kind of node is not known.
    """
    found: list[Tree] = []
    for holder, member in _slots(tree):
        child = holder[member]
        found.extend(child) if isinstance(child, list) else found.append(child)
    return found


def with_children(tree: Tree, change: Callable[[Tree], Tree]) -> Tree:
    """Return the node with each of its inputs replaced by what `change` makes of it."""
    if isinstance(tree, str):
        return tree
    copy = _shallow(tree)
    for holder, member in _slots(copy):
        child = holder[member]
        holder[member] = [change(c) for c in child] if isinstance(child, list) else change(child)
    return copy


def _shallow(tree: Tree) -> Tree:
    """Copy the node down to the containers that hold its children, no further."""
    name, inner = kind(tree), body(tree)
    if isinstance(inner, dict):
        inner = {key: _copied(value) if name == "Agg" else value for key, value in inner.items()}
    else:
        inner = _copied(inner)
    return {name: inner}


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, list | dict) else value


def walk(tree: Tree) -> Iterator[Tree]:
    """Yield the node and all nodes below it, parents first.

    Raises
    ------
    UnknownShape
        When it comes to a node that is not known.
    """
    yield tree
    for child in children(tree):
        yield from walk(child)


def column(name: str) -> Tree:
    """Return the node that reads a column."""
    return {"Column": name}


def alias(tree: Tree, name: str) -> Tree:
    """Return the tree under another output name."""
    return {"Alias": [tree, name]}


def without_name(tree: Tree) -> Tree:
    """Return the tree without the renaming at its top."""
    while kind(tree) in {"Alias", "KeepName", "RenameAlias"}:
        tree = children(tree)[0]
    return tree


FOLDS = frozenset({"FoldHorizontal", "ReduceHorizontal", "CumFoldHorizontal", "CumReduceHorizontal"})
"""Functions of several columns that call a user's Python function with whole columns."""
_WORDS = {
    "Agg": "an aggregation",
    "Count": "count",
    "NUnique": "n_unique",
    "FirstNonNull": "first",
    "LastNonNull": "last",
    "StringExpr.ConcatVertical": "str.join",
    "StringExpr.Strptime": "str.to_datetime without a format",
    "Correlation.Pearson": "corr",
    "Correlation.SpearmanRank": "corr",
    "Correlation.Covariance": "cov",
    "FillNullWithStrategy": "fill_null(strategy=...)",
    "ApproxNUnique": "approx_n_unique",
    "RLEID": "rle_id",
    "Filter": "filter(...)",
    "Over": "over(...)",
    "Rolling": "rolling(...)",
    "Eval": "cumulative_eval(...)",
    "Len": "len",
    "StructEval": "struct.with_fields(...)",
    "FoldHorizontal": "fold",
    "ReduceHorizontal": "reduce",
    "CumFoldHorizontal": "cum_fold",
    "CumReduceHorizontal": "cum_reduce",
    "AnonymousFunction": "a Python function",
    "PipeWithDtype": "pipe_with_dtype",
}


def in_words(tree: Tree) -> str:
    """Return what the user called the node, near enough: ``cum_sum``, ``rolling_mean``, ``over(...)``."""
    name = operation(tree)
    if kind(tree) == "Gather":
        return "get" if member(tree, "returns_scalar") is True else "gather"
    if name in _WORDS:
        return _WORDS[name]
    family, _, inner = name.rpartition(".")
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", inner).lower()
    prefix = {
        "RollingExpr": "rolling_",
        "RollingExprBy": "rolling_",
        "ListExpr": "list.",
        "Bitwise": "bitwise_",
        "TemporalExpr": "dt.",
        "StringExpr": "str.",
    }
    return prefix.get(family, "") + word
