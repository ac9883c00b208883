"""The job graph as values: what runs where, and how rows travel in between."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from streamlab.connectors.contracts.sink import Sink
from streamlab.connectors.contracts.source import Source
from streamlab.operators.base import OperatorSpec
from streamlab.state.checkpoints.manifest import StoredStep


class Exchange(Enum):
    """How rows travel from the subtasks of one vertex to those of another."""

    FORWARD = "forward"
    """Subtask i to subtask i; both sides have the same parallelism."""
    HASH = "hash"
    """To the subtask that the key columns belong to."""
    REBALANCE = "rebalance"
    """Whole batches round robin, from any parallelism to any other."""
    BROADCAST = "broadcast"
    """Every row to every subtask."""


@dataclass(frozen=True)
class Edge:
    """A connection between two vertices.

    Attributes
    ----------
    source, target : str
        Ids of the vertices.
    exchange : Exchange
        How rows are routed.
    keys : tuple[str, ...]
        Key columns of a hash exchange.
    port : int
        Input port of the target's first operator.
    """

    source: str
    target: str
    exchange: Exchange
    keys: tuple[str, ...] = ()
    port: int = 0


@dataclass(frozen=True)
class Vertex:
    """A chain of operators that runs in one task per subtask.

    Attributes
    ----------
    id : str
        Unique in the graph and stable between runs: the id of its first step.
    source : Source | None
        What it reads, for the first vertices.
    operators : tuple[OperatorSpec, ...]
        Applied in order.
    sink : Sink | None
        What it writes, for the last vertices.
    parallelism : int
        Number of subtasks.
    """

    id: str
    source: Source | None
    operators: tuple[OperatorSpec, ...]
    sink: Sink | None
    parallelism: int

    @property
    def steps(self) -> tuple[str, ...]:
        """What users see of the steps in the chain, the source and the sink included."""
        names = [self.source.name] if self.source else []
        names += [spec.shown for spec in self.operators]
        return (*names, *([self.sink.name] if self.sink else []))


@dataclass(frozen=True)
class JobGraph:
    """Vertices in topological order, sources first, the edges between them, and what is kept of steps."""

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]
    steps: tuple[StoredStep, ...] = ()
    """Of each step that keeps state: what a savepoint must know of it."""

    @property
    def keeps_cuts(self) -> bool:
        """Whether a user cut rows into batches and can see it, so that nobody puts batches together."""
        return any(vertex.source is not None and vertex.source.shows_cuts for vertex in self.vertices)

    def vertex(self, vertex_id: str) -> Vertex:
        """Return the vertex with this id."""
        return next(v for v in self.vertices if v.id == vertex_id)

    def inputs(self, vertex_id: str) -> tuple[Edge, ...]:
        """Return the edges into a vertex, in a stable order."""
        return tuple(e for e in self.edges if e.target == vertex_id)

    def outputs(self, vertex_id: str) -> tuple[Edge, ...]:
        """Return the edges out of a vertex, in a stable order."""
        return tuple(e for e in self.edges if e.source == vertex_id)
