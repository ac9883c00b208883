"""Streams without an engine: a source that is never read, and a runner that remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import polars as pl
import pytest

from streamlab.connectors.contracts.sink import Sink
from streamlab.connectors.contracts.source import Position, Source, Split, SplitReader, Timing
from streamlab.core.event_time.time import Duration
from streamlab.core.messages import DEAD_LETTER_SCHEMA
from streamlab.frame.runner import Collected, RunOptions
from streamlab.frame.stream_frame import StreamFrame
from streamlab.plan import nodes

SCHEMA = pl.Schema(
    {
        "ts": pl.Datetime("us"),
        "carrier": pl.String,
        "delay": pl.Float64,
        "n": pl.Int64,
        "tags": pl.List(pl.String),
        "place": pl.Struct({"lat": pl.Float64, "lon": pl.Float64}),
    }
)


@dataclass(frozen=True)
class NeverRead(Source):
    ends: bool = True

    @property
    def bounded(self) -> bool:
        return self.ends

    def splits(self) -> list[Split]:
        return []

    def open(self, split: Split, position: Position) -> SplitReader:
        raise AssertionError


@dataclass
class RecordingRunner:
    """Satisfies `Runner`; gives the frames that it was made with."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    dead_letters: pl.DataFrame = field(default_factory=DEAD_LETTER_SCHEMA.to_frame)
    calls: list[tuple[str, nodes.Node, RunOptions | int | None, Sink | None]] = field(default_factory=list)
    closed: int = 0

    def run(self, plan: nodes.Node, options: RunOptions, sink: Sink | None = None) -> str:
        self.calls.append(("run", plan, options, sink))
        return "the job"

    def stream(self, plan: nodes.Node, options: RunOptions, timeout_s: float | None = None) -> Iterator[pl.DataFrame]:
        self.calls.append(("stream", plan, options, None))
        try:
            yield from self.frames
        finally:
            self.closed += 1

    def collect(self, plan: nodes.Node, options: RunOptions) -> Collected:
        self.calls.append(("collect", plan, options, None))
        return Collected(self.frames[0], self.dead_letters)

    def explain(self, plan: nodes.Node, parallelism: int | None) -> str:
        self.calls.append(("explain", plan, parallelism, None))
        return "the job graph"


MakeStream = Callable[..., StreamFrame]


@pytest.fixture
def runner() -> RecordingRunner:
    return RecordingRunner()


@pytest.fixture
def make_stream(runner: RecordingRunner) -> MakeStream:
    def make(
        schema: pl.Schema = SCHEMA,
        *,
        endless: bool = False,
        event_time: str | None = "ts",
        watermark: str | None = "10s",
        name: str = "flights",
    ) -> StreamFrame:
        delay = None if watermark is None or event_time is None else Duration.parse(watermark)
        source = NeverRead(name, schema, not endless, timing=Timing(event_time, delay))
        return StreamFrame(nodes.Scan(source=source, step=name, schema=schema, event_time=event_time), runner)

    return make


@pytest.fixture
def flights(make_stream: MakeStream) -> StreamFrame:
    return make_stream()


@pytest.fixture
def endless(make_stream: MakeStream) -> StreamFrame:
    return make_stream(endless=True)
