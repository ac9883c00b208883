"""What all parts of a StreamFrame share: its plan, its runner, and the checks that each method begins with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import polars as pl

from streamlab.core.errors import PlanError, explained
from streamlab.frame.runner import Runner
from streamlab.plan import nodes
from streamlab.plan.builders.checks import check_appends, check_rowwise
from streamlab.plan.expressions import parse
from streamlab.plan.schema import typed


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
        check_rowwise(step, self._plan.schema, expressions)

    def _check_appends(self, step: str, why: str) -> None:
        """Raise PlanError when the rows so far are updated by later ones, and say which step makes them so."""
        check_appends(step, self._plan, why)


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
