"""What all parts of a StreamFrame share: its plan, its runner, and the checks that each method begins with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import polars as pl

from streamlab.core.errors import PlanError, explained
from streamlab.frame.runner import Runner
from streamlab.plan import nodes
from streamlab.plan.event_time import updating_step
from streamlab.plan.expressions import parse, rowwise_problem
from streamlab.plan.schema import check_sendable, refusal, show_columns, typed

AGGREGATE_HINT = "aggregate with group_by(…), or in windows of time with group_by_dynamic(…)"


class FrameBase:
    """A plan and what runs it. Immutable: every method returns a new frame.

    Parameters
    ----------
    plan
        The steps so far.
    runner
        What runs them.
    """

    __slots__ = ("_plan", "_runner")

    def __init__(self, plan: nodes.Node, runner: Runner) -> None:
        self._plan = plan
        self._runner = runner

    @property
    def plan(self) -> nodes.Node:
        """The steps of the query, as an immutable tree."""
        return self._plan

    def _with(self, plan: nodes.Node) -> Self:
        return type(self)(plan, self._runner)

    def _polars_step(
        self,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None = None,
        *,
        event_time: str | None,
        step: str | None = None,
        schema: pl.Schema | None = None,
    ) -> Self:
        """Return the frame after one more LazyFrame method, typed unless its schema is given."""
        kwargs = kwargs or {}
        if schema is None:
            schema = self._typed(step or method, method, args, kwargs)
        return self._with(
            nodes.PolarsStep(
                input=self._plan,
                method=method,
                args=args,
                kwargs=kwargs,
                step=step or method,
                schema=schema,
                event_time=event_time,
            )
        )

    def _typed(self, step: str, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> pl.Schema:
        return typed(
            step,
            self._plan.schema,
            lambda frame: getattr(frame, method)(*args, **kwargs),
            (*args, *kwargs.values()),
        )

    def _check_rowwise(self, step: str, expressions: Iterable[pl.Expr]) -> None:
        """Raise PlanError for an expression that must see other rows than its own."""
        expressions = tuple(expressions)
        check_sendable(step, expressions)
        for expression in expressions:
            try:
                problem = rowwise_problem(expression, self._plan.schema)
            except pl.exceptions.PolarsError as error:
                raise refusal(step, error, self._plan.schema) from None
            if problem is not None:
                raise PlanError(
                    explained(
                        step,
                        needed="expressions whose every row depends on its own input row only",
                        got=f"{expression}: {problem}",
                        hint=f"{AGGREGATE_HINT}; the columns are: {show_columns(self._plan.schema)}",
                    )
                )

    def _check_appends(self, step: str, why: str) -> None:
        """Raise PlanError when the rows so far are updated by later ones, and say which step makes them so."""
        source = updating_step(self._plan)
        if source is not None:
            raise PlanError(
                explained(
                    step,
                    needed=f"an append-only stream ({why})",
                    got=f"one that {source.step!r} makes an updating one",
                    hint=f"put {step} before it, or give {source.step!r} no trigger and no allowed_lateness"
                    if isinstance(source, nodes.WindowAggregate)
                    else f"put {step} before {source.step!r}, or aggregate in windows instead: group_by_dynamic(…)",
                )
            )


def flattened(values: Iterable[Any]) -> Iterator[Any]:
    """Yield arguments with one level of iterables opened, as Polars does for predicates."""
    for value in values:
        if isinstance(value, pl.Series) or not isinstance(value, Iterable) or isinstance(value, str | bytes | pl.Expr):
            yield value
        else:
            yield from value


def one_expression(step: str, value: Any) -> pl.Expr:
    """Return a column name or an expression as an expression."""
    expressions = parse(value)
    if len(expressions) != 1:
        raise PlanError(explained(step, needed="one column", got=repr(value)))
    return expressions[0]
