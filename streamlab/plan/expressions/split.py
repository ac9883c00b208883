"""Splits ``agg(...)`` into partial, merge and final, by reading the user's own expressions.

Each aggregation that can be merged (a *leaf*) becomes columns of partial results, see :mod:`.leaves`; what surrounds it
becomes the final expression over the merged columns. One expression with a leaf that is not known, or whose leaf looks
at more than its own row, and all of them are *buffered*: rows are kept and the expressions run over those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from streamlab.core.aggregation import AggregateReport, AggregateSplit
from streamlab.plan.expressions import leaves
from streamlab.plan.expressions.expansion import expand, output_columns
from streamlab.plan.expressions.leaves import NotMergeable, Rows, Taker, Wanted
from streamlab.plan.expressions.rowwise import Extent, examine_tree, is_rowwise_node
from streamlab.plan.expressions.states import States
from streamlab.plan.expressions.tree import (
    Tree,
    UnknownShape,
    alias,
    body,
    children,
    in_words,
    kind,
    operation,
    options,
    to_expr,
    to_tree,
    with_children,
    without_name,
)

_TAKERS: dict[str, Taker] = {
    "Len": leaves.length,
    "Agg.Count": leaves.count,
    "Agg.Sum": leaves.total,
    "Agg.Mean": leaves.mean,
    "Agg.Min": leaves.smallest,
    "Agg.Max": leaves.largest,
}
"""By kind and operation; what is not here is buffered."""


def split_aggregates(
    keys: Sequence[pl.Expr], aggregates: Sequence[pl.Expr], schema: pl.Schema, event_time: str | None = None
) -> AggregateSplit:
    """Return how ``group_by(keys).agg(aggregates)`` is computed in parts.

    Parameters
    ----------
    keys
        As given to ``group_by``; for windows also the index column, which Polars leaves out of ``pl.all()`` too. Empty
        for the aggregate of the whole stream.
    aggregates
        As the user wrote them; selectors are expanded here.
    schema
        Of the input rows.
    event_time
        Column that ``first`` and ``last`` go by, with order of arrival among equal times; None for arrival alone.

    Raises
    ------
    polars.exceptions.PolarsError
        If an expression does not fit the schema.

    Examples
    --------
    >>> schema = pl.Schema({"k": pl.String, "a": pl.Float64})
    >>> split = split_aggregates([pl.col("k")], [pl.col("a").mean().alias("m"), pl.col("a").sum()], schema)
    >>> [str(e) for e in split.partial]
    ['col("a").count().strict_cast(Int64).alias("__p0")', 'col("a").sum().alias("__p1")']
    >>> split.is_incremental, split.columns
    (True, ('a',))
    """
    splitter = _Splitter(keys, schema, event_time)
    singles = [splitter.single(expression) for expression in expand(aggregates, schema, keys)]
    reports = tuple(
        AggregateReport(name, incremental=not single.reason, reason=single.reason)
        for single in singles
        for name in single.outputs
    )
    states = splitter.states
    if not states.partial and all(single.final is not None for single in singles):
        states.add(pl.len().cast(pl.Int64), leaves.summed)
    if not any(single.reason for single in singles):
        return AggregateSplit(
            partial=tuple(states.partial),
            merge=tuple(states.merge),
            final=tuple(to_expr(alias(single.final, single.outputs[0])) for single in singles),
            buffered=(),
            columns=splitter.columns(states.partial),
            ordered=splitter.ordered,
            reports=reports,
        )
    buffered = tuple(splitter.over_rows(single) for single in singles)
    return AggregateSplit(
        partial=(),
        merge=(),
        final=(),
        buffered=buffered,
        columns=splitter.columns(buffered),
        ordered=True,
        reports=reports,
    )


@dataclass(frozen=True)
class _Single:
    """One of the user's expressions: its final tree over merged columns, or the reason why there is none."""

    expression: pl.Expr
    outputs: tuple[str, ...]
    final: Tree | None = None
    reason: str = ""


class _Splitter:
    """Splits the expressions of one ``agg``, sharing their states."""

    def __init__(self, keys: Sequence[pl.Expr], schema: pl.Schema, event_time: str | None) -> None:
        self.keys = keys
        self.schema = schema
        self.event_time = event_time
        self.frame = pl.LazyFrame(schema=schema)
        self.states = States()
        self.ordered = False

    def single(self, expression: pl.Expr) -> _Single:
        """Return one expression, split if that is possible."""
        wanted = output_columns(expression, self.schema, self.keys)
        outputs = tuple(name for name, _ in wanted)
        try:
            if len(wanted) != 1:
                return _Single(expression, outputs, reason="it cannot be told apart into single columns")
            final = self._final(without_name(to_tree(expression)))
            if self._final_dtype(final) != wanted[0][1]:
                return _Single(expression, outputs, reason="its parts do not give the dtype that the whole gives")
        except UnknownShape as error:
            return _Single(expression, outputs, reason=f"it cannot be read: {error}")
        except NotMergeable as error:
            return _Single(expression, outputs, reason=str(error))
        return _Single(expression, outputs, final)

    def columns(self, expressions: Sequence[pl.Expr]) -> tuple[str, ...]:
        """Return the input columns that the expressions read, in the order of the schema."""
        read = {name for expression in expressions for name in expression.meta.root_names()}
        return tuple(name for name in self.schema if name in read)

    def over_rows(self, single: _Single) -> pl.Expr:
        """Return the expression as it runs over kept rows.

        One that can be split runs as its final over its partial columns, so that sums don't wrap and ``first`` goes by
        event time here too.
        """
        if single.final is None:
            return single.expression

        def inlined(tree: Tree) -> Tree:
            return self.states.trees[body(tree)] if kind(tree) == "Column" else with_children(tree, inlined)

        return to_expr(alias(inlined(single.final), single.outputs[0]))

    def _final(self, tree: Tree) -> Tree:
        """Return the tree over merged columns, adding the states that it needs."""
        name = f"Agg.{operation(tree)}" if kind(tree) == "Agg" else operation(tree)
        if name in _TAKERS:
            return self._leaf(tree, _TAKERS[name])
        if kind(tree) == "Literal" and examine_tree(tree).extent is Extent.LITERAL:
            return tree
        if kind(tree) in {"Column", "Filter", "Explode"}:
            msg = "it gives a list of the rows of the group"
            raise NotMergeable(msg)
        if not is_rowwise_node(tree):
            msg = f"{in_words(tree)} needs all rows of the group"
            raise NotMergeable(msg)
        return with_children(tree, self._final)

    def _leaf(self, tree: Tree, taker: Taker) -> Tree:
        inputs = children(tree)
        value, condition = self._selection(inputs[0]) if inputs else (None, None)
        try:
            final = taker(
                self.states,
                Rows(
                    value=pl.len() if value is None else to_expr(value),
                    dtype=pl.Null() if value is None else self._dtype(value),
                    condition=None if condition is None else to_expr(condition),
                    event_time=None if self.event_time is None else pl.col(self.event_time),
                    grouped=bool(self.keys),
                ),
                self._wanted(tree),
            )
        except NotMergeable as error:
            msg = f"{in_words(tree)} {error} needs all rows of the group"
            raise NotMergeable(msg) from error
        return alias(to_tree(final), to_expr(tree).meta.output_name())

    def _wanted(self, tree: Tree) -> Wanted:
        chosen = options(tree)
        return Wanted(
            dtype=self._dtype(tree),
            include_nulls=bool(chosen.get("include_nulls", False)),
        )

    def _selection(self, tree: Tree) -> tuple[Tree, Tree | None]:
        """Return what an aggregation reads as a row-wise value and the condition under which a row counts."""
        value, condition = self._peeled(tree)
        for part in (value, condition):
            if part is None:
                continue
            verdict = examine_tree(part, self.schema)
            if verdict.extent is Extent.LITERAL:
                msg = "an aggregation of a literal sees one row"
                raise NotMergeable(msg)
            if verdict.extent is not Extent.ROWS:
                raise NotMergeable(verdict.reason.replace("the whole stream", "all rows of the group"))
        return value, condition

    def _peeled(self, tree: Tree) -> tuple[Tree, Tree | None]:
        """Take the filters out of a tree: those of a filtered column, and of functions of one."""
        if kind(tree) == "Filter":
            value, by = children(tree)
            return value, by
        if kind(tree) == "Function" and operation(tree) in {"DropNulls", "DropNans"}:
            value = children(tree)[0]
            kept = to_expr(value)
            keeps = kept.is_not_null() if operation(tree) == "DropNulls" else kept.is_null() | kept.is_not_nan()
            return value, to_tree(keeps)
        return tree, None

    def _dtype(self, tree: Tree) -> pl.DataType:
        return self.frame.select(to_expr(tree)).collect_schema().dtypes()[0]

    def _final_dtype(self, final: Tree) -> pl.DataType:
        states = self.states
        grouped = self.frame.group_by(pl.lit(0).alias("__key"))
        merged = grouped.agg(states.partial).group_by("__key").agg(states.merge)
        return merged.select(pl.col("__key"), to_expr(alias(final, "__result"))).collect_schema()["__result"]
