"""Partial states of aggregations: the columns that partial results are made of, each kept once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.plan.expressions.tree import Tree, to_tree

Merge = Callable[..., pl.Expr]
"""From the columns of one state, over partial rows in a group_by, the merged state."""


@dataclass
class States:
    """Collects the states that a set of aggregations needs, and numbers them.

    Two aggregations that need the same state (``mean`` and ``sum`` both need the sum) share it.
    """

    partial: list[pl.Expr] = field(default_factory=list)
    merge: list[pl.Expr] = field(default_factory=list)
    ordered: bool = False
    """Whether merging must see the pieces in order of arrival."""
    trees: dict[str, Tree] = field(default_factory=dict)
    """The partial tree of each column, without its name."""
    _known: dict[tuple[object, ...], str] = field(default_factory=dict)

    def add(self, partial: pl.Expr, merge: Merge, *others: pl.Expr) -> pl.Expr:
        """Return the column of a state, making it if there is none like it.

        Parameters
        ----------
        partial
            The state of some rows; an aggregation.
        merge
            Gives the merged state from the state's own column and `others`: a function at the top of a module, or a
            ``methodcaller``.
        others
            Columns of other states that the merge reads.
        """
        tree = to_tree(partial)
        key = (json.dumps(tree), getattr(merge, "__qualname__", repr(merge)), *map(str, others))
        name = self._known.get(key)
        if name is None:
            name = self._known[key] = own(f"p{len(self.partial)}")
            self.trees[name] = tree
            self.partial.append(partial.alias(name))
            self.merge.append(merge(pl.col(name), *others).alias(name))
        return pl.col(name)
