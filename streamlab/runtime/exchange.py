"""How the rows of one subtask find the subtasks that they belong to. Pure: no sockets here, only who gets what.

Order is kept per channel, that is per pair of sending and receiving subtask, and nowhere else (Flink's rule).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from streamlab.core.messages import Batch, Message
from streamlab.graph.job_graph import Edge, Exchange, JobGraph
from streamlab.state.snapshot import subtask_of


@dataclass(frozen=True, order=True)
class Channel:
    """One FIFO: from a subtask of an edge's source vertex to a subtask of its target.

    Attributes
    ----------
    edge : int
        Index of the edge in ``JobGraph.edges``.
    source_subtask, target_subtask : int
        The two ends.
    """

    edge: int
    source_subtask: int
    target_subtask: int


@dataclass(frozen=True)
class Emission:
    """A message that a task wants sent."""

    channel: Channel
    message: Message


def input_channels(graph: JobGraph, vertex_id: str, subtask: int) -> dict[Channel, int]:
    """Return the channels that a subtask reads, each with the input port that it leads to."""
    channels: dict[Channel, int] = {}
    for index, edge in enumerate(graph.edges):
        if edge.target != vertex_id:
            continue
        sources = (subtask,) if edge.exchange is Exchange.FORWARD else range(graph.vertex(edge.source).parallelism)
        channels.update({Channel(index, source, subtask): edge.port for source in sources})
    return channels


class Router:
    """Sends what one subtask gives along one edge.

    Parameters
    ----------
    edge, index
        The edge and its index in the graph.
    subtask
        The sending subtask.
    parallelism
        How many subtasks receive.
    """

    def __init__(self, edge: Edge, index: int, subtask: int, parallelism: int) -> None:
        self._exchange = edge.exchange
        self._keys = edge.keys
        self.next = subtask % parallelism
        """Which subtask gets the next batch of a round robin."""
        targets = (subtask,) if edge.exchange is Exchange.FORWARD else range(parallelism)
        self.channels = tuple(Channel(index, subtask, target) for target in targets)

    def route(self, batch: Batch) -> list[Emission]:
        """Return the batch, or its parts, for the channels that it goes to; empty parts are not sent."""
        if self._exchange is Exchange.BROADCAST or len(self.channels) == 1:
            return [Emission(channel, batch) for channel in self.channels]
        if self._exchange is Exchange.REBALANCE:
            channel = self.channels[self.next % len(self.channels)]
            self.next = (self.next + 1) % len(self.channels)
            return [Emission(channel, batch)]
        frame = batch.collected()
        target = frame.select(subtask_of(self._keys, len(self.channels), frame.schema).alias("target")).to_series()
        parts = ((channel, frame.filter(_equals(target, channel.target_subtask))) for channel in self.channels)
        return [Emission(channel, replace(batch, frame=part)) for channel, part in parts if part.height]

    def broadcast(self, message: Message) -> list[Emission]:
        """Return a control message for every channel."""
        return [Emission(channel, message) for channel in self.channels]


def _equals(target: pl.Series, subtask: int) -> pl.Series:
    mask: pl.Series = target == subtask
    return mask
