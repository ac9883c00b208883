"""The nodes of a plan. Each is immutable and types itself when it is made.

A node gets its schema by running its own step on an *empty* frame of its input's schema, so what Polars accepts is
accepted here, and a misspelt column is an error at the line that wrote it. Nodes say what they are; they do not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

import polars as pl

from streamlab.connectors.contracts.sink import Sink
from streamlab.connectors.contracts.source import Source
from streamlab.core.aggregation import AggregateSplit
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import Trigger, Windows


@dataclass(frozen=True, eq=False)
class Node:
    """A step of the query. Compared and hashed by identity; inputs first, so a plan is a directed acyclic graph."""

    step: str = field(kw_only=True)
    """Name of the step, such as ``filter``; lowering makes names unique."""

    schema: pl.Schema = field(kw_only=True, repr=False)
    """Columns and dtypes of the rows that come out (without the row kind)."""

    event_time: str | None = field(kw_only=True, default=None)
    """Column that the watermark speaks of; None when there is no watermark."""

    is_named: bool = field(kw_only=True, default=False)
    """Whether a user gave the step its name."""

    pinned: str = field(kw_only=True, default="", repr=False)
    """Name that the step had in the savepoint that it goes on from."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that this one reads."""
        return ()

    def over(self, *inputs: Node) -> Self:
        """Return the same step over other inputs, which must have the schemas of its own: it is not typed again."""
        del inputs
        return self

    @cached_property
    def updating(self) -> bool:
        """Whether the output is a changelog rather than append-only."""
        return any(node.updating for node in self.inputs)

    @cached_property
    def bounded(self) -> bool:
        """Whether every source below ends by itself."""
        return all(node.bounded for node in self.inputs)

    def walk(self) -> Iterator[Node]:
        """Yield every node below and this one, inputs first, each once."""
        seen: set[int] = set()

        def visit(node: Node) -> Iterator[Node]:
            if id(node) in seen:
                return
            seen.add(id(node))
            for child in node.inputs:
                yield from visit(child)
            yield node

        yield from visit(self)


@dataclass(frozen=True, eq=False)
class Scan(Node):
    """Reads a source."""

    source: Source

    @cached_property
    def updating(self) -> bool:
        """A source is append-only."""
        return False

    @cached_property
    def bounded(self) -> bool:
        """As the source says."""
        return self.source.bounded


@dataclass(frozen=True, eq=False)
class _Unary(Node):
    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The one input."""
        return (self.input,)

    def over(self, *inputs: Node) -> Self:
        """Return the same step over another input."""
        (only,) = inputs
        return replace(self, input=only)


@dataclass(frozen=True, eq=False)
class PolarsStep(_Unary):
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


@dataclass(frozen=True, eq=False)
class MapBatches(_Unary):
    """A user's function over whole batches, in the workers."""

    function: Callable[[Any], Any]
    as_: Literal["polars", "pandas"]


@dataclass(frozen=True, eq=False)
class AssignWatermarks(_Unary):
    """Makes watermarks from a column; those from above are dropped, but for the last."""

    column: str
    delay: Duration
    idle_timeout: Duration | None = None


@dataclass(frozen=True, eq=False)
class Head(_Unary):
    """The first `n` rows that arrive, then the end."""

    n: int

    @cached_property
    def bounded(self) -> bool:
        """Always: it ends its input."""
        return True


@dataclass(frozen=True, eq=False)
class StaticJoin(_Unary):
    """A join with a frame that does not change, kept whole by every subtask."""

    right: pl.DataFrame
    how: Literal["inner", "left", "semi", "anti"]
    left_on: tuple[pl.Expr, ...]
    right_on: tuple[pl.Expr, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Polars' remaining arguments: ``suffix``, ``coalesce``, ``validate``, ``nulls_equal``."""


JoinKind = Literal["inner", "left", "right", "full", "semi", "anti"]


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


@dataclass(frozen=True, eq=False)
class GroupAggregate(_Unary):
    """``group_by(keys).agg(aggregates)`` over everything so far: one row per key, given as a changelog.

    Without keys it is the aggregate of the whole stream, one row.
    """

    keys: tuple[pl.Expr, ...]
    split: AggregateSplit
    aggregates: tuple[pl.Expr, ...] = field(kw_only=True, repr=False, default=())
    """What the user wrote, one expression for each result column where that is known."""

    @cached_property
    def updating(self) -> bool:
        """Always: a result row is replaced when more rows come."""
        return True


@dataclass(frozen=True, eq=False)
class WindowAggregate(_Unary):
    """Aggregates per key and window, given when the watermark closes the window."""

    index_column: str
    windows: Windows
    keys: tuple[pl.Expr, ...]
    split: AggregateSplit
    include_boundaries: bool = False
    allowed_lateness_us: int = 0
    trigger: Trigger | None = None
    aggregates: tuple[pl.Expr, ...] = field(kw_only=True, repr=False, default=())
    """What the user wrote, one expression for each result column where that is known."""

    @cached_property
    def updating(self) -> bool:
        """Only when a window can give more than one result."""
        return self.trigger is not None or self.allowed_lateness_us > 0


@dataclass(frozen=True, eq=False)
class Write(_Unary):
    """Ends the plan: rows go to a sink."""

    sink: Sink
