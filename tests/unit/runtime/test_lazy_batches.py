"""A query that joins the reading of a file with steps fails: the error names the step, damage becomes a dead letter."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from streamlab.connectors.files.files import scan_parquet
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.core.errors import SourceError, StepFailed
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import HoppingWindows
from streamlab.graph.job_graph import JobGraph, Vertex
from streamlab.operators.base import OperatorSpec
from streamlab.operators.head import HeadSpec
from streamlab.operators.steps import PolarsStepsSpec
from streamlab.operators.windows import window_operators
from streamlab.plan.expressions import split_aggregates
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_values import SideOutput

ROWS = pl.DataFrame(
    {
        "t": [datetime.fromtimestamp(1_704_067_200 + at, UTC) for at in range(3000)],
        "n": [str(at) for at in range(3000)],
    }
)
TO_NUMBER = PolarsStepsSpec("with_columns", (("with_columns", (pl.col("n").cast(pl.Int64),), {}),))


def write(folder: Path, *, damaged: bool = False) -> None:
    for part in range(3):
        path = folder / f"{part}.parquet"
        ROWS.slice(part * 1000, 1000).write_parquet(path)
        if damaged and part == 1:
            data = path.read_bytes()
            path.write_bytes(data[:50] + b"\xff" * 400 + data[450:])


def windows() -> OperatorSpec:
    length = Duration.parse("1h")
    split = split_aggregates((pl.col("t"),), [pl.col("n").max()], ROWS.schema, "t")
    local, _, _ = window_operators(
        "windows",
        index_column="t",
        windows=HoppingWindows(length, length, Duration.parse("0s")),
        keys=(),
        split=split,
        input_schema=ROWS.schema,
    )
    return local


def run(folder: Path, *operators: OperatorSpec, on_error: str = "dead_letter") -> tuple[Task, pl.DataFrame | None]:
    source = scan_parquet(folder, event_time="t", watermark="1h")
    reader = SteppedReader(source, source.splits(), on_error=on_error)  # type: ignore[arg-type]
    graph = JobGraph((Vertex("rows", source, operators, None, 1),), ())
    task = Task(graph, "rows", 0, reader=reader)
    letters = None
    while not task.finished:
        for output in task.poll(0):
            if isinstance(output, SideOutput):
                letters = output.frame
    return task, letters


@pytest.mark.parametrize(
    "operators", [(), (TO_NUMBER,), (TO_NUMBER, HeadSpec("head", 5_000))], ids=["no step", "a step", "a head"]
)
def test_damaged_pages_are_dead_letters(tmp_path: Path, operators: tuple[OperatorSpec, ...]) -> None:
    write(tmp_path, damaged=True)
    task, letters = run(tmp_path, *operators)
    assert task.counters.rows_out == 2000
    assert task.counters.rows_in == 2001
    assert letters is not None
    assert letters["reason"].item().startswith("1,000 rows cannot be read: ")
    assert "1.parquet" in letters["origin"].item()


def test_damaged_pages_fail_the_job_that_wants_it_so(tmp_path: Path) -> None:
    write(tmp_path, damaged=True)
    with pytest.raises(SourceError, match=r"1\.parquet.*1,000 rows cannot be read"):
        run(tmp_path, TO_NUMBER, on_error="fail")


@pytest.mark.parametrize("rest", ["nothing", "windows", "head"])
def test_an_error_names_the_step_that_made_it(tmp_path: Path, rest: str) -> None:
    write(tmp_path)
    bad = PolarsStepsSpec("cast", (("with_columns", (pl.col("n").str.replace("7", "x").cast(pl.Int64),), {}),))
    rests = {"nothing": (), "windows": (windows(),), "head": (HeadSpec("head", 9),)}
    with pytest.raises(StepFailed, match=r"^cast: InvalidOperationError: conversion") as raised:
        run(tmp_path, bad, *rests[rest])
    assert raised.value.step == "cast"
    assert "2024-01-01" in raised.value.sample


def test_steps_with_python_are_not_part_of_the_scan(tmp_path: Path) -> None:
    write(tmp_path)
    seen: list[int] = []
    step = (("with_columns", (pl.col("n").map_batches(lambda s: (seen.append(len(s)), s)[1], pl.String),), {}),)
    task, _ = run(tmp_path, PolarsStepsSpec("udf", step, runs_python=True), windows())
    assert task.counters.rows_out > 0
    assert seen == [3000]
