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
from streamlab.core.column_names.own_columns import own
from streamlab.plan.empty import empty_frame
from streamlab.plan.expressions.expansion import expand, output_columns
from streamlab.plan.expressions.known import ddof_of, distinct_taker, taker_of
from streamlab.plan.expressions.leaves import SUMMED, NotMergeable, Rows, Taker, Wanted
from streamlab.plan.expressions.rowwise import Extent, examine_tree, is_rowwise_node
from streamlab.plan.expressions.selection import NotRowwise, select
from streamlab.plan.expressions.single_rows import of_single_rows
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
    to_expr,
    to_tree,
    with_children,
    without_name,
)

_KEY = own("key")
_ENDS = frozenset(("First", "Last", "FirstNonNull", "LastNonNull"))


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
    ['col("a").count().strict_cast(Int64).alias("__sl_p0")', 'col("a").sum().alias("__sl_p1")']
    >>> split.is_incremental, split.columns
    (True, ('a',))
    """
    splitter = _Splitter(keys, schema, event_time)
    singles = splitter.checked([splitter.single(expression) for expression in expand(aggregates, schema, keys)])
    reports = tuple(
        AggregateReport(name, incremental=not single.reason, reason=single.reason)
        for single in singles
        for name in single.outputs
    )
    states = splitter.states
    if not states.partial and all(single.final is not None for single in singles):
        states.add(pl.len().cast(pl.Int64), SUMMED)
    if not any(single.reason for single in singles):
        return AggregateSplit(
            partial=tuple(states.partial),
            merge=tuple(states.merge),
            final=tuple(to_expr(alias(single.final, single.outputs[0])) for single in singles),
            buffered=(),
            columns=splitter.columns(states.partial),
            ordered=states.ordered,
            reports=reports,
            single=of_single_rows(states.partial, schema),
        )
    buffered = tuple(splitter.over_rows(single) for single in singles)
    return AggregateSplit(
        partial=(),
        merge=(),
        final=(),
        buffered=buffered,
        # With the event time, kept rows can be put in its order before the expressions see them.
        columns=splitter.columns([*buffered, *([pl.col(event_time)] if event_time else [])]),
        ordered=True,
        reports=reports,
    )


@dataclass(frozen=True)
class _Single:
    """One of the user's expressions: its final tree over merged columns, or the reason why there is none."""

    expression: pl.Expr
    outputs: tuple[str, ...]
    dtype: pl.DataType | None = None
    final: Tree | None = None
    reason: str = ""


class _Splitter:
    """Splits the expressions of one ``agg``, sharing their states."""

    def __init__(self, keys: Sequence[pl.Expr], schema: pl.Schema, event_time: str | None) -> None:
        self.keys = keys
        self.schema = schema
        self.event_time = event_time
        self.frame = empty_frame(schema)
        self.states = States()

    def single(self, expression: pl.Expr) -> _Single:
        """Return one expression, split if that is possible."""
        wanted = output_columns(expression, self.schema, self.keys)
        outputs = tuple(name for name, _ in wanted)
        try:
            if len(wanted) != 1:
                return _Single(expression, outputs, reason="it cannot be told apart into single columns")
            tree = without_name(to_tree(expression))
            distinct = distinct_taker(tree) if self.keys else None
            final = self._final(tree) if distinct is None else self._leaf(tree, distinct)
        except UnknownShape as error:
            return _Single(expression, outputs, reason=f"it cannot be read: {error}")
        except NotMergeable as error:
            return _Single(expression, outputs, reason=str(error))
        return _Single(expression, outputs, dtype=wanted[0][1], final=final)

    def checked(self, singles: list[_Single]) -> list[_Single]:
        """Return the expressions; those whose parts would not give Polars' dtype become buffered."""
        finals = [to_expr(alias(one.final, own(f"r{at}"))) for at, one in enumerate(singles) if one.final is not None]
        grouped = self.frame.group_by(pl.lit(0).alias(_KEY)).agg(self.states.partial)
        merged = grouped.group_by(_KEY).agg(self.states.merge)
        found = merged.select(pl.col(_KEY), *finals).collect_schema()
        reason = "its parts do not give the dtype of the whole"
        return [
            one
            if one.final is None or found[own(f"r{at}")] == one.dtype
            else _Single(one.expression, one.outputs, reason=reason)
            for at, one in enumerate(singles)
        ]

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
        taker = taker_of(tree)
        if taker is not None:
            return self._leaf(tree, taker)
        if kind(tree) == "Literal":
            verdict = examine_tree(tree)
            if verdict.extent is not Extent.LITERAL:
                raise NotMergeable(verdict.reason)
            return tree
        if kind(tree) == "KeepName":
            # The root name of the merged columns would be that of a state.
            return alias(self._final(children(tree)[0]), self._output(tree)[0])
        if kind(tree) in {"Column", "Filter", "Explode"}:
            msg = "it gives a list of the rows of the group"
            raise NotMergeable(msg)
        # What a StructEval evaluates reads fields, which mean nothing outside it.
        if kind(tree) == "StructEval" or not is_rowwise_node(tree):
            msg = f"{in_words(tree)} needs all rows of the group"
            raise NotMergeable(msg)
        return with_children(tree, self._final)

    def _leaf(self, tree: Tree, taker: Taker) -> Tree:
        name, dtype = self._output(tree)
        wanted = Wanted(str(to_expr(tree)), dtype, ddof_of(tree))
        rows = self._rows(tree, wanted.dtype)
        try:
            final = taker(self.states, rows, wanted)
        except NotMergeable as error:
            msg = f"{in_words(tree)} {error} needs all rows of the group"
            raise NotMergeable(msg) from error
        return alias(to_tree(final), name)

    def _rows(self, tree: Tree, dtype: pl.DataType) -> Rows:
        """Return what the aggregation at the top of the tree reads."""
        inputs = children(tree)
        time = None if self.event_time is None else pl.col(self.event_time)
        if not inputs:
            return Rows(pl.len(), None, dtype, None, time, never_empty=bool(self.keys))
        if time is not None and operation(tree) in _ENDS - {"First", "Last"}:
            inputs = [to_tree(to_expr(inputs[0]).drop_nulls())]
        try:
            values, *others = [select(child, self.schema) for child in inputs]
        except NotRowwise as error:
            raise NotMergeable(str(error)) from error
        if any(other.condition != values.condition for other in others):
            msg = "columns filtered in different ways stand side by side"
            raise NotMergeable(msg)
        in_time = time is not None and operation(tree) in _ENDS
        if (in_time or others) and any(one.value is None for one in (values, *others)):
            msg = f"{in_words(tree)} of a function of filtered rows needs all rows of the group"
            raise NotMergeable(msg)
        return Rows(
            kept=to_expr(values.kept),
            condition=None if values.condition is None else to_expr(values.condition),
            dtype=self._dtype(inputs[0]),
            by=to_expr(others[0].kept) if others else None,
            event_time=time,
            never_empty=bool(self.keys) and values.condition is None,
        )

    def _output(self, tree: Tree) -> tuple[str, pl.DataType]:
        """Return name and dtype of an aggregation in a group."""
        return output_columns(to_expr(tree), self.schema, [pl.lit(0).alias(_KEY)])[0]

    def _dtype(self, tree: Tree) -> pl.DataType:
        return self.frame.select(to_expr(tree)).collect_schema().dtypes()[0]
