"""The aggregations that are known to be mergeable, by the name of their node. What is not here is buffered."""

from __future__ import annotations

from streamlab.plan.expressions import leaves, picks
from streamlab.plan.expressions.leaves import Taker
from streamlab.plan.expressions.tree import Tree, kind, operation, payload

_TAKERS: dict[str, Taker] = {
    "Len": leaves.length,
    "Agg.Sum": leaves.total,
    "Agg.Mean": leaves.mean,
    "Agg.Var": leaves.variance,
    "Agg.Std": leaves.deviation,
    "Agg.First": picks.first,
    "Agg.Last": picks.last,
    "Agg.FirstNonNull": picks.first_non_null,
    "Agg.LastNonNull": picks.last_non_null,
    "Agg.NUnique": picks.n_unique,
    "Agg.Implode": picks.implode,
    "Function.NullCount": leaves.null_count,
    "Function.Product": leaves.product,
    "Function.MinBy": picks.smallest_by,
    "Function.MaxBy": picks.largest_by,
    "Function.Boolean.HasNulls": leaves.has_nulls,
    "Function.Bitwise.And": leaves.bitwise("bitwise_and"),
    "Function.Bitwise.Or": leaves.bitwise("bitwise_or"),
    "Function.Bitwise.Xor": leaves.bitwise("bitwise_xor"),
}

_BY_OPTION: dict[str, tuple[str, Taker, Taker]] = {
    "Agg.Count": ("include_nulls", leaves.length, leaves.count),
    "Agg.Min": ("propagate_nans", leaves.extreme("nan_min"), leaves.extreme("min")),
    "Agg.Max": ("propagate_nans", leaves.extreme("nan_max"), leaves.extreme("max")),
    "Function.Boolean.Any": ("ignore_nulls", leaves.repeated("any"), leaves.kleene("any")),
    "Function.Boolean.All": ("ignore_nulls", leaves.repeated("all"), leaves.kleene("all")),
}
"""Aggregations with a switch: its name, and what they are when it is on and off."""


def taker_of(tree: Tree) -> Taker | None:
    """Return how the aggregation at the top of a tree is taken apart; None when it is none, or none that is known."""
    name = "Len" if kind(tree) == "Len" else f"{kind(tree)}.{operation(tree)}"
    if name not in _BY_OPTION:
        return _TAKERS.get(name)
    switch, on, off = _BY_OPTION[name]
    options = payload(tree)
    setting = options.get(switch) if isinstance(options, dict) else None
    if setting is True:
        return on
    return off if setting is False else None


def distinct_taker(tree: Tree) -> Taker | None:
    """Return how ``unique()`` is taken apart; None when the top of the tree is something else.

    In ``agg`` it gives a list, but what stands around it would see its items: so it counts only with nothing around it.
    """
    if kind(tree) != "Function" or operation(tree) != "Unique":
        return None
    return {True: picks.unique_in_order, False: picks.unique}.get(payload(tree))


def ddof_of(tree: Tree) -> int:
    """Return the degrees of freedom that ``var`` or ``std`` takes off; 1 for anything else."""
    return int(payload(tree)[1]) if operation(tree) in {"Var", "Std"} else 1
