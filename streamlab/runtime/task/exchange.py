"""How the rows of one subtask find the subtasks that they belong to. Pure: no sockets here, only who gets what.

Order is kept per channel, that is per pair of sending and receiving subtask, and nowhere else (Flink's rule).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from streamlab.core.messages import Batch, Message
from streamlab.graph.job_graph import Edge, Exchange, JobGraph
from streamlab.state.snapshot import subtask_of

_FEW_TARGETS = 4
_MANY_ROWS = 50_000
"""In a batch with so many rows a filter for each of few targets is quicker than one order for all of them."""


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
        self._target: tuple[tuple[pl.DataType, ...], pl.Expr] | None = None
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
        parts = zip(self.channels, self._parts(batch.collected()), strict=True)
        return [Emission(channel, replace(batch, frame=part)) for channel, part in parts if part.height]

    def _parts(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """Return the rows of each target, in their order."""
        targets = frame.select(self._target_of(frame)).to_series()
        if len(self.channels) <= _FEW_TARGETS and frame.height >= _MANY_ROWS:
            return [frame.filter(_equals(targets, channel.target_subtask)) for channel in self.channels]
        # NumPy orders small numbers by counting them, which costs the same for any number of targets.
        numbers = targets.to_numpy().astype(np.uint8 if len(self.channels) <= 1 << 8 else np.uint16)
        counts = np.bincount(numbers, minlength=len(self.channels))
        if counts.max() < frame.height:
            # As a series at once, since Polars looks for negative numbers in what comes from NumPy.
            frame = frame[pl.Series(np.argsort(numbers, kind="stable").astype(np.uint32))]
        firsts = np.cumsum(counts) - counts
        return [frame.slice(first, count) for first, count in zip(firsts.tolist(), counts.tolist(), strict=True)]

    def _target_of(self, frame: pl.DataFrame) -> pl.Expr:
        """Return the expression for each row's target; it is made anew only when the dtype of a key is another."""
        dtypes = tuple(frame.get_column(key).dtype for key in self._keys)
        if self._target is None or self._target[0] != dtypes:
            schema = pl.Schema(zip(self._keys, dtypes, strict=True))
            self._target = dtypes, subtask_of(self._keys, len(self.channels), schema)
        return self._target[1]

    def broadcast(self, message: Message) -> list[Emission]:
        """Return a control message for every channel."""
        return [Emission(channel, message) for channel in self.channels]


def _equals(target: pl.Series, subtask: int) -> pl.Series:
    mask: pl.Series = target == subtask
    return mask
