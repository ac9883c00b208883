"""Plans that earlier releases stored, as they would be made now: columns of ours had other names in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from streamlab.core.aggregation import AggregateSplit
from streamlab.core.column_names.former_names import renewed
from streamlab.plan import nodes
from streamlab.plan.expressions.renaming import renamed
from streamlab.plan.rewrite import rebuilt

_HAVING = "having"


def plan_as_now(plan: nodes.Node) -> nodes.Node:
    """Return a plan with columns of ours as they are called now."""
    return rebuilt(plan, _renewed) if any(map(_is_former, plan.walk())) else plan


def _is_former(node: nodes.Node) -> bool:
    """Return whether a step has columns of ours under their former names, which may be a user's in plans of today."""
    own: list[pl.Expr] = []
    if isinstance(node, nodes.GroupAggregate | nodes.WindowAggregate):
        own = list(node.split.partial)
    elif isinstance(node, nodes.PolarsStep) and node.step == _HAVING and node.method == "filter" and not node.is_named:
        own = list(node.args)
    return any(_is_renewed(expression.meta.output_name()) for expression in own)


def _renewed(node: nodes.Node) -> nodes.Node:
    node = replace(node, schema=pl.Schema({renewed(name): dtype for name, dtype in node.schema.items()}))
    if isinstance(node, nodes.GroupAggregate | nodes.WindowAggregate):
        return replace(node, split=_renewed_split(node.split), aggregates=_all(node.aggregates))
    if isinstance(node, nodes.PolarsStep) and any(map(_is_renewed, node.input.schema)):
        return replace(node, args=tuple(map(_argument, node.args)))
    return node


def _is_renewed(name: str) -> bool:
    return renewed(name) != name


def _renewed_split(split: AggregateSplit) -> AggregateSplit:
    return replace(
        split,
        partial=_all(split.partial),
        merge=_all(split.merge),
        final=_all(split.final),
        buffered=_all(split.buffered),
        single=_all(split.single),
        reports=tuple(replace(report, name=renewed(report.name)) for report in split.reports),
    )


def _all(expressions: tuple[pl.Expr, ...]) -> tuple[pl.Expr, ...]:
    return tuple(renamed(expression, renewed) for expression in expressions)


def _argument(value: Any) -> Any:
    if isinstance(value, pl.Expr):
        return renamed(value, renewed)
    return renewed(value) if isinstance(value, str) else value
