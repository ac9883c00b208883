"""What steps ask of expressions and of their input before they take them."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from streamlab.core.errors import PlanError, explained
from streamlab.plan import nodes
from streamlab.plan.event_time import updating_step
from streamlab.plan.expressions import rowwise_problem
from streamlab.plan.schema import check_sendable, refusal, show_columns

AGGREGATE_HINT = "aggregate with group_by(…), or in windows of time with group_by_dynamic(…)"


def check_rowwise(step: str, schema: pl.Schema, expressions: Iterable[pl.Expr]) -> None:
    """Raise PlanError for an expression on columns of a schema that must see other rows than its own."""
    expressions = tuple(expressions)
    check_sendable(step, expressions)
    for expression in expressions:
        try:
            problem = rowwise_problem(expression, schema)
        except pl.exceptions.PolarsError as error:
            raise refusal(step, error, schema) from None
        if problem is not None:
            raise PlanError(
                explained(
                    step,
                    needed="expressions whose every row depends on its own input row only",
                    got=f"{expression}: {problem}",
                    hint=f"{AGGREGATE_HINT}; the columns are: {show_columns(schema)}",
                )
            )


def check_appends(step: str, plan: nodes.Node, why: str) -> None:
    """Raise PlanError when the rows so far are updated by later ones, and say which step makes them so."""
    source = updating_step(plan)
    if source is not None:
        raise PlanError(
            explained(
                step,
                needed=f"an append-only stream ({why})",
                got=f"one that {source.step!r} makes an updating one",
                hint=_append_hint(step, source),
            )
        )


def _append_hint(step: str, source: nodes.Node) -> str:
    """Return what makes a stream append-only that a step makes an updating one."""
    if isinstance(source, nodes.StreamJoin):
        return f"put {step} before {source.step!r}; of joins only how='inner' and how='semi' append"
    if isinstance(source, nodes.WindowAggregate):
        return f"put {step} before it, or give {source.step!r} no trigger and no allowed_lateness"
    return f"put {step} before {source.step!r}, or aggregate in windows instead: group_by_dynamic(…)"
