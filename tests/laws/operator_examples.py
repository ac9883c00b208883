"""One query, at least, for every operator: its job graph, as one chain, is what the operator laws run on."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import polars as pl

import streamlab as sl
import streamlab.operators
from streamlab.core.event_time.row_watermarks import unmarked
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, MAIN, Batch, Message, Watermark
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.joins import JoinKeysSpec, StreamJoinSpec
from streamlab.state.snapshot import Snapshot
from streamlab.testing.harness import graph_of
from streamlab.testing.sources import split_frames
from streamlab.testing.strategies import SCHEMA, Stream

TABLE = pl.DataFrame({"key": ["hot", "a", "x", None], "label": ["H", "A", "X", "N"]})
AGGREGATES = (
    pl.len().alias("rows"),
    pl.col("number").sum(),
    pl.col("value").mean(),
    pl.col("number").max().alias("most"),
)

TWO_INPUTS = {JoinKeysSpec, StreamJoinSpec}
"""Operators of joins, which have laws of their own (``test_join_law.py``)."""

_SIDE = (LATE_ROWS, DEAD_LETTERS)
Query = Callable[[sl.StreamFrame], sl.StreamFrame]

EXAMPLES: dict[str, Query] = {
    "steps": lambda f: f.filter(pl.col("number") > 0).with_columns(double=pl.col("number") * 2),
    "explode": lambda f: f.with_columns(part=pl.concat_list("number", pl.lit(1))).explode("part"),
    "map_batches": lambda f: f.map_batches(lambda batch: batch.filter(pl.col("flag")), schema=SCHEMA),
    "head": lambda f: f.head(7),
    "with_watermark": lambda f: f.with_watermark("at", "2s"),
    "join": lambda f: f.join(TABLE, on="key", how="left"),
    "group_by": lambda f: f.group_by("key").agg(*AGGREGATES),
    "group_by expression": lambda f: f.group_by("key", (pl.col("number") % 3).alias("rest")).agg(pl.len()),
    "group_by buffered": lambda f: f.group_by("flag").agg(pl.col("number").median()),
    "aggregate all": lambda f: f.select(pl.len().alias("rows"), pl.col("number").sum()),
    "group_by twice": lambda f: f.group_by("key").agg(*AGGREGATES).group_by("most").agg(pl.len(), pl.col("rows").sum()),
    "filter on changelog": lambda f: f.group_by("key").agg(*AGGREGATES).filter(pl.col("rows") > 2),
    "tumbling": lambda f: f.group_by_dynamic("at", every="5s", group_by="key").agg(*AGGREGATES),
    "tumbling buffered": lambda f: f.group_by_dynamic("at", every="5s", group_by="key").agg(
        pl.col("number").median(), pl.col("number").drop_nulls().unique().len().alias("distinct")
    ),
    "tumbling global": lambda f: f.group_by_dynamic("at", every="1m").agg(*AGGREGATES),
    "tumbling calendar": lambda f: f.group_by_dynamic("at", every="1mo", group_by="flag").agg(*AGGREGATES),
    "hopping": lambda f: f.group_by_dynamic("at", every="2s", period="7s", group_by="key").agg(*AGGREGATES),
    "hopping with gaps": lambda f: f.group_by_dynamic("at", every="10s", period="4s", group_by="key").agg(*AGGREGATES),
    "session": lambda f: f.group_by_session("at", gap="3s", group_by="key").agg(*AGGREGATES),
    "session buffered": lambda f: f.group_by_session("at", gap="3s", group_by="key").agg(pl.col("number").median()),
    "cumulative": lambda f: f.group_by_cumulative(
        "at", step="2s", every="10s", group_by="key", include_boundaries=True
    ).agg(*AGGREGATES),
    "lateness": lambda f: f.group_by_dynamic("at", every="5s", group_by="key", allowed_lateness="20s").agg(*AGGREGATES),
    "lateness of sessions": lambda f: f.group_by_session("at", gap="3s", group_by="key", allowed_lateness="20s").agg(
        *AGGREGATES
    ),
    "early by rows": lambda f: f.group_by_dynamic("at", every="5s", group_by="key", trigger=sl.every_rows(3)).agg(
        *AGGREGATES
    ),
    "early sessions": lambda f: f.group_by_session("at", gap="5s", group_by="key", trigger=sl.every_rows(2)).agg(
        *AGGREGATES
    ),
    "windows of windows": lambda f: (
        f.group_by_dynamic("at", every="5s", group_by="key")
        .agg(*AGGREGATES)
        .group_by_dynamic("at", every="20s")
        .agg(pl.col("rows").sum(), pl.len().alias("windows"))
    ),
}


@dataclass(frozen=True)
class Link:
    """An operator of a chain, and the key columns by which rows are routed to it (none: it runs once)."""

    spec: OperatorSpec
    keys: tuple[str, ...]
    keyed: bool

    def build(self, snapshot: Snapshot | None = None, subtask: int = 0, parallelism: int = 1) -> Operator:
        return self.spec.build(OperatorContext(subtask, parallelism), snapshot)


def source(event_time: str | None = "at") -> sl.StreamFrame:
    """Return a stream of rows of `SCHEMA`."""
    return split_frames([pl.DataFrame(schema=SCHEMA)], event_time=event_time, watermark="0s" if event_time else None)


def chain(query: Query) -> list[Link]:
    """Return the operators of a query without branches, in order."""
    graph = graph_of(query(source()))
    links: list[Link] = []
    for vertex in graph.vertices:
        edges = graph.inputs(vertex.id)
        for at, spec in enumerate(vertex.operators):
            hashed = at == 0 and bool(edges) and edges[0].exchange.value == "hash"
            links.append(Link(spec, edges[0].keys if hashed else (), hashed))
    return links


def all_spec_classes() -> set[type[OperatorSpec]]:
    """Return every concrete operator spec that streamlab has."""
    for module in pkgutil.walk_packages(streamlab.operators.__path__, "streamlab.operators."):
        importlib.import_module(module.name)

    def below(cls: type[OperatorSpec]) -> set[type[OperatorSpec]]:
        return {cls}.union(*(below(child) for child in cls.__subclasses__()))

    return {c for c in below(OperatorSpec) if c.__module__.startswith("streamlab.") and not c.__abstractmethods__}


def messages_of(stream: Stream, cuts: Sequence[int], *, late: bool = False) -> list[Message]:
    """Return the rows cut into batches, each followed by the watermark that it allows, and the end.

    With `late` the watermark runs ahead of what the bound allows, so that rows come late.
    """
    edges = sorted({0, stream.frame.height, *(min(cut, stream.frame.height) for cut in cuts)})
    out: list[Message] = []
    reached: int | None = None
    delay = 0 if late else stream.bound_us + 1
    for low, high in pairwise(edges):
        frame = stream.frame.slice(low, high - low)
        out.append(Batch(frame))
        latest = frame["at"].dt.epoch("us").max()
        if isinstance(latest, int) and (reached is None or latest - delay > reached):
            reached = latest - delay
            out.append(Watermark(reached))
    return [*out, Watermark(MAX_TIME_US)]


def recut(messages: Sequence[Message], pieces: int) -> list[Message]:
    """Return the same messages with every batch cut into this many, and an empty one besides."""
    out: list[Message] = []
    for message in messages:
        if not isinstance(message, Batch):
            out.append(message)
            continue
        frame = message.collected()
        size = max(1, -(-frame.height // pieces))
        out.append(Batch(frame.clear(), message.tag))
        out += [Batch(frame.slice(at, size), message.tag) for at in range(0, frame.height, size)]
    return out


def feed(operator: Operator, messages: Sequence[Message]) -> list[Message]:
    """Give messages to an operator, then the end, and return everything that it gives. A full head ends early."""
    out: list[Message] = []
    for message in messages:
        out += one(operator, message)
        if operator.done:
            break
    if operator.done:
        out.append(Watermark(MAX_TIME_US))
    return out + operator.on_end()


def one(operator: Operator, message: Message) -> list[Message]:
    """Give one message to an operator, without what only those see that carry it, as a task does."""
    if isinstance(message, Batch):
        if not operator.carries_row_watermarks:
            message = replace(message, frame=unmarked(message.collected()))
        return operator.process(message)
    assert isinstance(message, Watermark)
    return operator.on_watermark(message.us)


def main_and_side(messages: Sequence[Message]) -> tuple[list[Message], list[Batch]]:
    """Return what goes on down the chain, and what leaves it as a side output."""
    side = [m for m in messages if isinstance(m, Batch) and m.tag in _SIDE]
    return [m for m in messages if not (isinstance(m, Batch) and m.tag in _SIDE)], side


def rows_of(messages: Sequence[Message], tag: str = MAIN) -> list[pl.DataFrame]:
    """Return the frames of all batches with a tag, as a sink sees them."""
    return [unmarked(m.collected()) for m in messages if isinstance(m, Batch) and m.tag == tag]
