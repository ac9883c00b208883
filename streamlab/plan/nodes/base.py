"""What all nodes of a plan have: each is immutable, was typed when it was made, and says what it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import polars as pl


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

    keeps_state: ClassVar[bool] = False
    """Whether a checkpoint holds something of it that another query could go on with."""

    def describe(self) -> str:
        """Return what stands behind its name in ``explain()``."""
        return ""

    def details(self) -> Sequence[str]:
        """Return the lines below it in ``explain()``."""
        return ()

    @property
    def title(self) -> str:
        """A few words that say what it does; empty when its method says it."""
        return ""

    @property
    def traits(self) -> list[object]:
        """What its id is made of: names only, which no version of Polars writes in another way."""
        return [self.step]

    @property
    def row_key(self) -> tuple[str, ...] | None:
        """Columns that identify a row of its result; None when a key may have several rows or is not known."""
        return None


@dataclass(frozen=True, eq=False)
class Unary(Node):
    """A step with one input."""

    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The one input."""
        return (self.input,)

    def over(self, *inputs: Node) -> Self:
        """Return the same step over another input."""
        (only,) = inputs
        return replace(self, input=only)
