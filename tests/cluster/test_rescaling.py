"""Any number of subtasks from any other, for every kind of state, in real processes: nothing is lost or counted twice.

By default each kind goes a short way; ``-m slow`` goes from each of 1, 2, 3, 4, 8 to each other one. Rows come when the
test lets them, so that there is state, and rows on their way, at each rescale.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from gated_source import SPLITS, Gate, rows_of
from patience import eventually

import streamlab as sl
from streamlab.testing.circuit import circuit
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.oracle import oracle

AGGREGATES = [pl.len().alias("n"), pl.col("v").sum(), pl.col("v").max().alias("latest")]
SIZES = (1, 2, 3, 4, 8)
SHORT = (3, 1, 2)
ROWS_BETWEEN = 12
NAMES = pl.DataFrame({"k": range(0, 13, 2), "name": [f"name {k}" for k in range(0, 13, 2)]})

Query = Callable[[sl.StreamFrame], sl.StreamFrame]
QUERIES: dict[str, Query] = {
    "tumbling windows": lambda f: f.group_by_dynamic("t", every="10s", group_by="k").agg(AGGREGATES),
    "hopping windows": lambda f: f.group_by_dynamic("t", every="10s", period="30s", group_by="word").agg(AGGREGATES),
    "sessions": lambda f: f.group_by_session("t", gap="3s", group_by="word").agg(AGGREGATES),
    "cumulative windows": lambda f: f.group_by_cumulative("t", step="10s", every="40s", group_by="k").agg(AGGREGATES),
    "windows that keep rows": lambda f: f.group_by_dynamic("t", every="20s", group_by="k").agg(pl.col("v").median()),
    "groups by number": lambda f: f.group_by("k").agg(AGGREGATES),
    "groups by text": lambda f: f.group_by("word").agg(AGGREGATES),
    "groups that keep rows": lambda f: f.group_by("k").agg(pl.col("v").median(), pl.len().alias("n")),
    "one group": lambda f: f.select(AGGREGATES),
    "static join": lambda f: f.join(NAMES, on="k", how="left").group_by("name").agg(AGGREGATES),
}


@pytest.fixture
def jobs() -> Iterator[list[sl.Job]]:
    jobs: list[sl.Job] = []
    yield jobs
    for job in jobs:
        job.cancel()


def gate_for(folder: Path, sizes: Iterable[int]) -> Gate:
    return Gate(folder / "gate", ROWS_BETWEEN * (len(tuple(sizes)) + 2))


def walk(job: sl.Job, gate: Gate, sizes: Iterable[int]) -> None:
    """Rescale a job to one size after the other, with rows before and after; then let it come to its end."""
    for size in sizes:
        read = job.report().rows_in
        gate.open(gate.rows + ROWS_BETWEEN)
        # Not all of them: what is on its way must get there, too.
        eventually(lambda: job.report().rows_in > read, "rows")  # noqa: B023
        job.rescale(size)
        assert job.report().parallelism == size
    gate.open(gate.total)
    assert job.wait(60) == "finished"
    assert job.report().rows_in == gate.total * SPLITS
    assert job.report().late_rows == 0
    assert job.report().restarts == 0


def check_query(name: str, sizes: tuple[int, ...], tmp_path: Path, jobs: list[sl.Job], *, live: bool = False) -> None:
    gate = gate_for(tmp_path, sizes)
    query = QUERIES[name](sl.stream(gate.source(live=live)))
    expected = oracle(query, gate.everything())
    jobs.append(query.start(parallelism=2, checkpoint_every="1h"))
    walk(jobs[-1], gate, sizes)
    assert_same_rows(jobs[-1].results(), expected)


def check_head(sizes: tuple[int, ...], tmp_path: Path, jobs: list[sl.Job]) -> None:
    gate = gate_for(tmp_path, sizes)
    wanted = gate.total * SPLITS - 5
    job = sl.stream(gate.source()).head(wanted).start(parallelism=2, checkpoint_every="1h")
    jobs.append(job)
    for size in sizes:
        gate.open(gate.rows + ROWS_BETWEEN)
        read = job.report().rows_in
        eventually(lambda: job.report().rows_in > read or read == gate.rows * SPLITS, "rows")  # noqa: B023
        job.rescale(size)
    gate.open(gate.total)
    assert job.wait(60) == "finished"
    table = job.results()
    assert (table.height, table["v"].n_unique()) == (wanted, wanted)
    assert table.join(gate.everything(), on=table.columns, how="anti").height == 0


def check_sink(kind: str, sizes: tuple[int, ...], tmp_path: Path, jobs: list[sl.Job]) -> None:
    gate = gate_for(tmp_path, sizes)
    stream = sl.stream(gate.source()).filter(pl.col("k") != 5)
    options = {"parallelism": 2, "checkpoint_every": "100ms"}
    target = tmp_path / kind
    if kind == "parquet":
        jobs.append(stream.sink_parquet(target, **options))
    else:
        jobs.append(stream.sink_sqlite(target, "t", **options))
    walk(jobs[-1], gate, sizes)
    expected = gate.everything().filter(pl.col("k") != 5)
    if kind == "parquet":
        assert_same_rows(pl.read_parquet(target), expected)
        assert [path.name for path in target.iterdir() if path.name.startswith(".")] == []
    else:
        with closing(sqlite3.connect(target)) as database:
            numbers = sorted(v for (v,) in database.execute("select v from t"))
        assert numbers == sorted(expected["v"])


def check_files(sizes: tuple[int, ...], tmp_path: Path, jobs: list[sl.Job]) -> None:
    """Rows of files come in real time; the rest is read by another job, at full speed, from a savepoint."""
    source = Gate(tmp_path / "gate", 200 * (len(sizes) + 2))
    folder = tmp_path / "in"
    folder.mkdir()
    for split in range(SPLITS):
        rows_of(split, 0, source.total).write_parquet(folder / f"{split}.parquet")

    def query(pace: str) -> sl.StreamFrame:
        stream = sl.scan_parquet(folder, event_time="t", watermark="10s", pace=pace)
        return stream.group_by("k").agg(AGGREGATES).named("per key")

    first = query("8x").start(parallelism=2, checkpoint_every="1h")
    jobs.append(first)
    for size in sizes:
        read = first.report().rows_in
        eventually(lambda: first.report().rows_in > read, "rows")  # noqa: B023
        first.rescale(size)
    first.stop(savepoint=tmp_path / "saved")
    assert 0 < first.report().rows_in < source.total * SPLITS
    rest = query("max").start(parallelism=sizes[0], from_savepoint=tmp_path / "saved")
    jobs.append(rest)
    assert rest.wait(60) == "finished"
    assert_same_rows(rest.results(), oracle(query("max"), source.everything()))


SHORT_KINDS = ("tumbling windows", "sessions", "groups by text", "static join", "recorded", "parquet")
KINDS = (*QUERIES, "recorded", "head", "parquet", "sqlite", "files")


def check(kind: str, sizes: tuple[int, ...], tmp_path: Path, jobs: list[sl.Job]) -> None:
    if kind == "head":
        check_head(sizes, tmp_path, jobs)
    elif kind in {"parquet", "sqlite"}:
        check_sink(kind, sizes, tmp_path, jobs)
    elif kind == "files":
        check_files(sizes, tmp_path, jobs)
    elif kind == "recorded":
        check_query("groups by number", sizes, tmp_path, jobs, live=True)
    else:
        check_query(kind, sizes, tmp_path, jobs)


@pytest.mark.parametrize("kind", SHORT_KINDS)
def test_a_short_way(kind, tmp_path, jobs):
    check(kind, SHORT, tmp_path, jobs)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_from_any_size_to_any_other(kind, tmp_path, jobs):
    check(kind, circuit(SIZES, 2)[1:], tmp_path, jobs)
