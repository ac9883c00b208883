"""The queries that recovery is simulated with, their rows, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

import streamlab as sl
from streamlab.connectors.files.changed_files import ReadFiles
from streamlab.connectors.files.file_source import FileSource
from streamlab.connectors.files.files import scan_ndjson
from streamlab.connectors.files.growing_files import GrowingFiles
from streamlab.core.changelog import fold
from streamlab.frame.stream_frame import StreamFrame
from streamlab.graph.job_graph import JobGraph
from streamlab.graph.lowering import lower
from streamlab.job.sources import stream
from streamlab.plan.nodes import Write
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.ledger import Ledger, LedgerSink
from streamlab.testing.oracle import oracle
from streamlab.testing.sources import FollowedFrames, Logs, Shelf, split_frames

if TYPE_CHECKING:
    from streamlab.testing.simulated_cluster import Cluster

_ROWS = 72
_SPLITS = 4
_APPEARING = 12
"""Splits of a query that follows them."""
_LINES = 80
_LOOK_US, _QUIET_US = 1_000, 12_000
"""How often logs are looked at, and how long a renamed one must be left alone: little time passes in a simulation."""
_ALL_TIMES = "60s"
"""No row of the input is later than this."""


@dataclass(frozen=True)
class Outcome:
    """What a run has left: a changelog has its kinds of rows."""

    rows: pl.DataFrame
    late_rows: pl.DataFrame
    dead_letters: int
    shelf: Shelf = field(default_factory=Shelf)


@dataclass(frozen=True)
class Scenario:
    """A query and what its outcome must be."""

    name: str
    query: Callable[[], StreamFrame]
    check: Callable[[Scenario, Outcome], None]

    def graph(self, parallelism: int, ledger: Ledger) -> JobGraph:
        """Return its job graph, ending in a ledger."""
        return _graph(self.frame(), parallelism, ledger)

    @property
    def most_steps(self) -> int:
        """So many things may happen until it must have ended."""
        return 20_000

    @property
    def appearing(self) -> dict[str, pl.DataFrame]:
        """Splits that appear while it runs."""
        return {}

    def new_shelf(self) -> Shelf:
        """Return where they appear."""
        return Shelf()

    def of_process(self, graph: JobGraph) -> JobGraph:
        """Return the job graph as a process has it that was just started."""
        return graph

    def has_settled(self, cluster: Cluster) -> bool:
        """Return whether a job that does not end has read, shown and committed all that there is."""
        return False

    def frame(self) -> StreamFrame:
        """Return the query."""
        return _frame(self)

    def expected(self) -> pl.DataFrame:
        """Return its rows according to the oracle."""
        return _expected(self)


@dataclass(frozen=True)
class FollowedScenario(Scenario):
    """A query over splits that appear while it runs, and whose outcome is that of all of them."""

    def graph(self, parallelism: int, ledger: Ledger) -> JobGraph:
        """Return its job graph, which reads from the ledger's shelf."""
        return _graph(_followed(ledger.shelf), parallelism, ledger)

    @property
    def appearing(self) -> dict[str, pl.DataFrame]:
        """The splits that appear, by name, in order."""
        frames = pl.concat(_input()).iter_slices(_ROWS // _APPEARING)
        return {f"part-{number}": frame for number, frame in enumerate(frames)}


@dataclass(frozen=True)
class LogsScenario(Scenario):
    """A query over files that grow and are rotated, which does not end: it is over when all rows were committed."""

    def graph(self, parallelism: int, ledger: Ledger) -> JobGraph:
        """Return its job graph, which reads the ledger's logs."""
        return _graph(_logs(ledger.shelf), parallelism, ledger)

    def new_shelf(self) -> Shelf:
        """Return new logs."""
        return Logs(_LINES)

    @property
    def most_steps(self) -> int:
        """So many things may happen until all must be read."""
        return 5_000

    def of_process(self, graph: JobGraph) -> JobGraph:
        """Return it with sources that know of no file."""
        vertices = []
        for vertex in graph.vertices:
            source = vertex.source
            if isinstance(source, FileSource):
                known = GrowingFiles(look_us=_LOOK_US, quiet_us=_QUIET_US)
                vertices.append(replace(vertex, source=replace(source, was_read=ReadFiles(), growing=known)))
            else:
                vertices.append(vertex)
        return replace(graph, vertices=tuple(vertices))

    def has_settled(self, cluster: Cluster) -> bool:
        """Return whether no row is missing that cannot be lost, and all that is shown is committed."""
        shown, committed = (outcome.rows["n"].to_list() for outcome in cluster.outcome())
        logs = cluster.ledger.shelf
        return isinstance(logs, Logs) and sorted(shown) == sorted(committed) and not logs.missing(shown)


@lru_cache
def _frame(scenario: Scenario) -> StreamFrame:
    return scenario.query()


def _graph(frame: StreamFrame, parallelism: int, ledger: Ledger) -> JobGraph:
    node = frame.plan
    write = Write(node, LedgerSink("ledger", ledger), step="ledger", schema=node.schema, event_time=node.event_time)
    return lower(write, parallelism)


@lru_cache
def _expected(scenario: Scenario) -> pl.DataFrame:
    return oracle(scenario.frame())


def _input(*, nulls: bool = False, start: int = 0) -> list[pl.DataFrame]:
    """Return rows of four splits, out of order; each has a number of its own."""
    first = datetime(2024, 1, 1)  # noqa: DTZ001 - naive, as most event times are
    at = [first + timedelta(seconds=(n * 7) % 50) for n in range(_ROWS)]
    frame = pl.DataFrame(
        {
            "at": [None if nulls and n % 12 == 0 else time for n, time in enumerate(at)],
            "key": [("a", "b", None, "d", "e")[n % 5] for n in range(_ROWS)],
            "n": [start + (n * n * 2_654_435_761) % (1 << 40) for n in range(_ROWS)],
        },
        schema_overrides={"at": pl.Datetime("us")},
    )
    return [frame.gather_every(_SPLITS, offset) for offset in range(_SPLITS)]


def _stream(*, nulls: bool = False, watermark: str = _ALL_TIMES, name: str = "splits", start: int = 0) -> StreamFrame:
    return split_frames(_input(nulls=nulls, start=start), event_time="at", watermark=watermark, name=name)


_SUMS = (pl.len().alias("rows"), pl.col("n").sum())


def _windows() -> StreamFrame:
    return _stream(nulls=True).group_by_dynamic("at", every="10s", period="20s", group_by="key").agg(*_SUMS)


def _sessions() -> StreamFrame:
    return _stream().group_by_session("at", gap="2s", group_by="key").agg(*_SUMS)


def _groups() -> StreamFrame:
    return _stream(nulls=True).group_by("key").agg(*_SUMS)


def _plain() -> StreamFrame:
    return _stream(nulls=True).filter(pl.col("n") % 3 != 0).with_columns((pl.col("n") * 2).alias("twice"))


def _static_join() -> StreamFrame:
    names = pl.DataFrame({"key": ["a", "b", "d"], "name": ["Ann", "Bob", "Dee"]})
    return _stream().join(names, on="key", how="left")


def _union() -> StreamFrame:
    return sl.concat([_stream(name="one"), _stream(name="two", start=1 << 41)]).group_by("key").agg(*_SUMS)


def _stream_join() -> StreamFrame:
    """Two streams whose pairs are counted and added up, so that a pair too many or too few is seen."""
    left, right = _stream(name="left"), _stream(name="right", start=1 << 41)
    return left.join(right, on="key").group_by("key").agg(*_SUMS, pl.col("n_right").sum())


def _outer_join() -> StreamFrame:
    """Join a stream of updates and one of rows, some without a match: what was given is taken back all the time."""
    left, right = _stream(nulls=True, name="left"), _stream(name="right", start=1 << 41)
    counted = left.group_by("key", (pl.col("n") % 3).alias("rest")).agg(*_SUMS)
    return counted.join(right, left_on=["key", "rest"], right_on=["key", pl.col("n") % 5], how="full")


def _late() -> StreamFrame:
    return _stream(watermark="3s").group_by_dynamic("at", every="5s", group_by="key").agg(*_SUMS)


def _total() -> StreamFrame:
    return _stream().select(*_SUMS)


def _first() -> StreamFrame:
    return _stream().head(11)


def _followed(shelf: Shelf | None = None) -> StreamFrame:
    """Return a query that ends when it has had as many rows as there are to be."""
    source = FollowedFrames("followed", _input()[0].schema, shelf=shelf or Shelf())
    return stream(source).with_columns((pl.col("n") * 2).alias("twice")).head(_ROWS)


def _logs(shelf: Shelf | None = None) -> StreamFrame:
    """Return a query over logs; without any, over none."""
    paths = shelf.paths if isinstance(shelf, Logs) else ["none.ndjson"]
    source = scan_ndjson(paths, schema={"n": pl.Int64}, follow="append", glob=False)
    return stream(source).with_columns((pl.col("n") * 2).alias("twice"))


def _check_logs(_: Scenario, outcome: Outcome) -> None:
    """Each row comes once, those of a text from its beginning, and none is missing that cannot be lost."""
    rows, logs = outcome.rows["n"].to_list(), outcome.shelf
    if not isinstance(logs, Logs):
        return
    twice = sorted({n for n in rows if rows.count(n) > 1})
    if twice or not set(rows) <= set(range(logs.rows)):
        text = f"rows come more than once: {twice}"
        raise AssertionError(text)
    if missing := logs.missing(rows):
        text = f"rows are missing: {missing}"
        raise AssertionError(text)
    if not logs.is_in_order(rows):
        text = f"rows are missing between others: {sorted(rows)}"
        raise AssertionError(text)


def _nulls(scenario: Scenario) -> int:
    return 6 if scenario.name in {"windows", "groups", "plain", "outer join"} else 0


def _check_exact(scenario: Scenario, outcome: Outcome) -> None:
    assert_same_rows(fold(outcome.rows), scenario.expected())
    _check_sides(scenario, outcome)


def _check_sides(scenario: Scenario, outcome: Outcome) -> None:
    got = outcome.late_rows.height, outcome.dead_letters
    if got != (0, _nulls(scenario)):
        text = f"{got[0]} late rows and {got[1]} dead letters, expected 0 and {_nulls(scenario)}"
        raise AssertionError(text)


def _check_conserved(_: Scenario, outcome: Outcome) -> None:
    """Which rows are late depends on the schedule, but each is either late or in one window."""
    parts = [outcome.rows.select(pl.col("rows").cast(pl.Int64), "n")]
    if outcome.late_rows.width:
        parts.append(outcome.late_rows.select(pl.lit(1, pl.Int64).alias("rows"), "n"))
    got = pl.concat(parts).sum().row(0)
    expected = pl.concat(_input()).select(pl.len(), pl.col("n").sum()).row(0)
    if got != expected:
        text = f"rows and sum of windows and late rows: {got}, expected {expected}"
        raise AssertionError(text)


def _check_some(_: Scenario, outcome: Outcome) -> None:
    """Which rows come first depends on the schedule, but there are so many, and each is one of the input's."""
    unknown = outcome.rows.join(pl.concat(_input()), on="n", how="anti").height
    got = outcome.rows.height, outcome.rows["n"].n_unique(), unknown
    if got != (11, 11, 0):
        text = f"{got[0]} rows, {got[1]} of them different, {got[2]} unknown; expected 11, 11, 0"
        raise AssertionError(text)


def _check_all(_: Scenario, outcome: Outcome) -> None:
    assert_same_rows(outcome.rows.select("at", "key", "n"), pl.concat(_input()))


SCENARIOS = (
    Scenario("windows", _windows, _check_exact),
    Scenario("groups", _groups, _check_exact),
    Scenario("first", _first, _check_some),
    Scenario("plain", _plain, _check_exact),
    Scenario("sessions", _sessions, _check_exact),
    Scenario("union", _union, _check_exact),
    Scenario("late", _late, _check_conserved),
    Scenario("join", _static_join, _check_exact),
    Scenario("total", _total, _check_exact),
    FollowedScenario("followed", _followed, _check_all),
    Scenario("stream join", _stream_join, _check_exact),
    Scenario("outer join", _outer_join, _check_exact),
)
"""A seed takes the one that its remainder stands for."""

LOGS = LogsScenario("logs", _logs, _check_logs)
"""Files that grow: apart from the others, since it reads a disk."""
