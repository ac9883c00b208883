"""Joins with a frame that does not change, and of two streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import polars as pl

from streamlab.plan.nodes.base import Node, Unary
from streamlab.plan.nodes.words import equal_text, former_columns, listed

JoinKind = Literal["inner", "left", "right", "full", "semi", "anti"]


@dataclass(frozen=True, eq=False)
class StaticJoin(Unary):
    """A join with a frame that does not change, kept whole by every subtask."""

    right: pl.DataFrame
    how: Literal["inner", "left", "semi", "anti"]
    left_on: tuple[pl.Expr, ...]
    right_on: tuple[pl.Expr, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Polars' remaining arguments: ``suffix``, ``coalesce``, ``validate``, ``nulls_equal``."""

    def describe(self) -> str:
        """Return the kind, the keys, and the size of the frame."""
        on = equal_text(self.left_on, self.right_on)
        return f"{self.how} on {on} with a static frame of {self.right.height:,} rows, broadcast"

    @property
    def title(self) -> str:
        """The kind and the keys."""
        return f"{self.how} join on {listed([key.meta.output_name() for key in self.left_on])}"


@dataclass(frozen=True, eq=False)
class StreamJoin(Node):
    """The pairs of rows of two streams whose keys are equal, and what the kind of join adds; both are kept whole."""

    left: Node
    right: Node
    how: JoinKind
    left_on: tuple[pl.Expr, ...]
    right_on: tuple[pl.Expr, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Polars' remaining arguments: ``suffix``, ``coalesce``, ``nulls_equal``."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The left one and the right one."""
        return (self.left, self.right)

    @cached_property
    def updating(self) -> bool:
        """Where a row of the inputs can be taken back, or one that comes out without a match can still find one."""
        return self.how not in {"inner", "semi"} or any(node.updating for node in self.inputs)

    def over(self, *inputs: Node) -> Self:
        """Return the join of other inputs."""
        left, right = inputs
        return replace(self, left=left, right=right)

    keeps_state: ClassVar[bool] = True

    def describe(self) -> str:
        """Return the kind and the keys, and that rows are kept."""
        return f"{self.how} on {equal_text(self.left_on, self.right_on)}; both streams are kept"

    @property
    def title(self) -> str:
        """The kind and the keys."""
        return f"{self.how} join on {listed([key.meta.output_name() for key in self.left_on])}"

    @property
    def row_key(self) -> tuple[str, ...] | None:
        """Of semi and anti joins that of the left side; else none that is known: rows of either side may be alike."""
        return self.left.row_key if self.how in {"semi", "anti"} else None

    @property
    def traits(self) -> list[object]:
        """The kind, the names of the keys, and the result columns."""
        left, right = ([key.meta.output_name() for key in keys] for keys in (self.left_on, self.right_on))
        return [self.step, self.how, left, right, former_columns(self.schema)]
