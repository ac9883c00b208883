"""Steps whose rows come out as they come in, or changed one by one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal, Self

import polars as pl

from streamlab.plan.expressions import output_columns
from streamlab.plan.expressions.expansion import expand
from streamlab.plan.nodes.base import Node, Unary
from streamlab.plan.nodes.words import short, value_text
from streamlab.plan.schema import calls_python

_KEEPS_ROWS = frozenset({"filter", "drop", "cast", "drop_nulls", "drop_nans"})


@dataclass(frozen=True, eq=False)
class PolarsStep(Unary):
    """A LazyFrame method whose output rows each depend on one input row only, such as ``filter`` or ``explode``.

    What runs is ``getattr(frame, method)(*args, **kwargs)`` on every batch.
    """

    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Return the frame after the step."""
        result: pl.LazyFrame = getattr(frame, self.method)(*self.args, **self.kwargs)
        return result

    def describe(self) -> str:
        """Return the arguments that are not Polars' own."""
        arguments = [value_text(value) for value in self.args]
        defaults = _defaults(self.method)
        arguments += [
            f"{name}={value_text(value)}" for name, value in self.kwargs.items() if value is not defaults.get(name)
        ]
        python = any(calls_python(value) for value in (*self.args, *self.kwargs.values()))
        return short(", ".join(arguments)) + ("  [row-wise Python]" if python else "")

    @property
    def row_key(self) -> tuple[str, ...] | None:
        """That of its input, through steps that give at most one row for each row and leave the key columns alone."""
        keys = self.input.row_key
        if keys is None:
            return None
        if self.method == "rename":
            return tuple(self.args[0].get(key, key) for key in keys)
        if self.method == "select":
            return self._selected(keys)
        if self.method == "with_columns":
            changed = {name for expr in self.args for name, _ in output_columns(expr, self.input.schema)}
            return None if changed & set(keys) else keys
        kept = all(self.schema.get(key) == self.input.schema[key] for key in keys)
        return keys if self.method in _KEEPS_ROWS and kept else None

    def _selected(self, keys: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the names under which plain columns of a select hold the keys."""
        named: dict[str, str] = {}
        for expression in expand(self.args, self.input.schema):
            bare = expression.meta.undo_aliases()
            if bare.meta.is_column():
                named.setdefault(bare.meta.output_name(), expression.meta.output_name())
        return tuple(named[key] for key in keys) if all(key in named for key in keys) else None


@lru_cache
def _defaults(method: str) -> Mapping[str, Any]:
    """Return what Polars takes an argument for that is not given."""
    parameters = inspect.signature(getattr(pl.LazyFrame, method)).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


@dataclass(frozen=True, eq=False)
class MapBatches(Unary):
    """A user's function over whole batches, in the workers."""

    function: Callable[[Any], Any]
    as_: Literal["polars", "pandas"]

    def describe(self) -> str:
        """Return the function's name, and what it is given."""
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return f"{name}, on {self.as_} frames  [Python, whole batches]"

    @property
    def title(self) -> str:
        """The function's name, if it has one."""
        name = str(getattr(self.function, "__name__", type(self.function).__name__))
        return self.step if name in {"<lambda>", self.step} else f"{self.step} {name}"


@dataclass(frozen=True, eq=False)
class Head(Unary):
    """The first `n` rows that arrive, then the end."""

    n: int

    @cached_property
    def bounded(self) -> bool:
        """Always: it ends its input."""
        return True

    keeps_state: ClassVar[bool] = True

    def describe(self) -> str:
        """Return how many rows."""
        return f"{self.n:,} rows"

    @property
    def title(self) -> str:
        """How many rows."""
        return f"first {self.n:,} rows"

    @property
    def traits(self) -> list[object]:
        """How many rows."""
        return [self.step, self.n]


@dataclass(frozen=True, eq=False)
class Union(Node):
    """All rows of all inputs; its watermark is the minimum of theirs."""

    branches: tuple[Node, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The branches."""
        return self.branches

    def over(self, *inputs: Node) -> Self:
        """Return the union of other branches."""
        return replace(self, branches=inputs)

    def describe(self) -> str:
        """Return how many streams, and which watermark counts."""
        return f"{len(self.branches)} streams; the lowest watermark counts"
