"""Small job graphs for tests with real processes, and ways to misbehave in them. Imported by the workers, too."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from streamlab.connectors.contracts.sink import Pending, SinkContext, SinkWriter
from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.core.messages import LATE_ROWS, Batch, Message
from streamlab.graph.job_graph import Edge, Exchange, JobGraph, Vertex
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.runtime.tables.results import ResultTable, ResultWriter
from streamlab.state.snapshot import Snapshot

ROWS = pl.Schema({"k": pl.Int64, "v": pl.Int64})
TOTALS = pl.Schema({"k": pl.Int64, "v": pl.Int64, "rows": pl.UInt32})
ENDLESS = 10**12


class _NumbersReader(SplitReader):
    def __init__(self, total: int, batch: int, start: int) -> None:
        self._total, self._batch, self._at = total, batch, start

    def read(self, limit: int, now_us: int) -> Read | None:
        first, last = self._at, min(self._at + min(limit, self._batch), self._total)
        numbers = pl.int_range(first, last, eager=True)
        self._at = last
        return Read(pl.DataFrame({"k": numbers % 10, "v": numbers}, schema=ROWS), last, last - first)

    @property
    def done(self) -> bool:
        return self._at >= self._total


@dataclass(frozen=True)
class Numbers(Source):
    """In each split the numbers from 0 on; the key is the last digit."""

    name: str = "numbers"
    schema: pl.Schema = field(default_factory=lambda: ROWS)
    total: int = 1000
    batch: int = 100
    parts: int = 2

    @property
    def bounded(self) -> bool:
        return self.total < ENDLESS

    @property
    def keeps_batches(self) -> bool:
        return True

    def splits(self) -> list[Split]:
        return [Split(str(part), self.total if self.bounded else None) for part in range(self.parts)]

    def open(self, split: Split, position: Position) -> SplitReader:
        return _NumbersReader(self.total, self.batch, int(position))


@dataclass(frozen=True)
class Map(OperatorSpec):
    """A user's function over batches."""

    function: Callable[[pl.DataFrame], pl.DataFrame]

    @property
    def is_user_code(self) -> bool:
        return True

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        return _Mapping(self.function)


class _Mapping(Operator):
    def __init__(self, function: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        self._function = function

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        return [Batch(self._function(batch.collected()), ingested_us=batch.ingested_us)]


@dataclass(frozen=True)
class Total(OperatorSpec):
    """Sums and counts per key, given at the end; the very first row of each key counts as late."""

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        return _Totals()


class _Totals(Operator):
    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        frame = batch.collected()
        first = [] if self._parts else [Batch(frame.head(1), LATE_ROWS)]
        self._parts.append(frame.group_by("k").agg(pl.col("v").sum(), pl.len().alias("rows")))
        return [*first]

    def on_end(self) -> list[Message]:
        if not self._parts:
            return []
        return [Batch(pl.concat(self._parts).group_by("k").agg(pl.col("v").sum(), pl.col("rows").sum()))]


def totals(
    function: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    *,
    total: int = 1000,
    batch: int = 100,
    parallelism: int = 2,
) -> JobGraph:
    """Numbers → mine → by key → totals → result table."""
    operators = (Map("mine", function),) if function is not None else ()
    return JobGraph(
        (
            Vertex("numbers", Numbers(total=total, batch=batch), operators, None, parallelism),
            Vertex("total", None, (Total("total"),), ResultTable("results", TOTALS), parallelism),
        ),
        (Edge("numbers", "total", Exchange.HASH, ("k",)),),
    )


def rows(
    function: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    *,
    total: int = ENDLESS,
    batch: int = 100,
    sink: ResultTable | None = None,
) -> JobGraph:
    """Numbers → mine → result table, endless unless told otherwise."""
    operators = (Map("mine", function),) if function is not None else ()
    table = sink or ResultTable("results", ROWS, keep_rows=10_000)
    return JobGraph((Vertex("numbers", Numbers(total=total, batch=batch), operators, table, 2),), ())


def expected_totals(total: int = 1000) -> list[tuple[int, int, int]]:
    """Return what `totals` gives for two splits of `total` numbers."""
    return [(k, 2 * sum(range(k, total, 10)), 2 * len(range(k, total, 10))) for k in range(10)]


@dataclass(frozen=True)
class FullTable(ResultTable):
    """A result table whose files are on a full disk."""

    def open(self, context: SinkContext) -> SinkWriter:
        writer = super().open(context)
        log = writer._log
        log._file.close()
        log._file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb")
        return writer


@dataclass(frozen=True)
class NeverCommits(ResultTable):
    """A sink that does not come back from its commit."""

    def open(self, context: SinkContext) -> SinkWriter:
        return _NeverCommits(self, context)


class _NeverCommits(ResultWriter):
    def commit(self, pending: Pending) -> None:
        while True:
            time.sleep(0.01)


# -- ways to misbehave ---------------------------------------------------------------------------------------------


def slow(frame: pl.DataFrame) -> pl.DataFrame:
    """Take a while, so that the job lasts."""
    time.sleep(0.01)
    return frame


def raises(frame: pl.DataFrame) -> pl.DataFrame:
    message = f"cannot bear {frame['v'][0]}"
    raise ValueError(message)


def exits(frame: pl.DataFrame) -> pl.DataFrame:
    os._exit(3)


def exits_politely(frame: pl.DataFrame) -> pl.DataFrame:
    sys.exit("enough")


def is_killed(frame: pl.DataFrame) -> pl.DataFrame:
    os.kill(os.getpid(), 9)
    return frame


def crashes(frame: pl.DataFrame) -> pl.DataFrame:
    ctypes.string_at(0)
    return frame


def never_returns(frame: pl.DataFrame) -> pl.DataFrame:
    while True:
        time.sleep(0.01)


def hogs(frame: pl.DataFrame) -> pl.DataFrame:
    """Never return from a native call that holds the interpreter."""
    re.match(r"(a+)+$", "a" * 60 + "b")
    return frame


def chatty(frame: pl.DataFrame) -> pl.DataFrame:
    print("hello from", frame["v"][0])
    return frame


def never_stops_talking(frame: pl.DataFrame) -> pl.DataFrame:
    print(f"{'on and on ' * 10_000}\n" * 10, frame["v"][-1])
    return frame


def starts_a_process(frame: pl.DataFrame) -> pl.DataFrame:
    if not hasattr(starts_a_process, "child"):
        starts_a_process.child = subprocess.Popen(["sleep", "1000"])
    return slow(frame)


def worker_environment(frame: pl.DataFrame) -> pl.DataFrame:
    print("THREADS", pl.thread_pool_size(), "PYTHONPATH", os.environ.get("PYTHONPATH"), "INPUT", sys.stdin.read())
    return frame
