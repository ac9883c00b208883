"""Jobs that take checkpoints, with processes that die: every row counts once, whoever was killed.

The streams are endless, so that no job can be over before it is hit, however slow this process is.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
from cluster_jobs import raises
from patience import eventually

import streamlab as sl
from streamlab.connectors.sinks.files import ParquetSink
from streamlab.core.errors import StepFailed
from streamlab.core.options import JobOptions
from streamlab.graph.job_graph import JobGraph
from streamlab.graph.lowering import lower
from streamlab.job.job import Job
from streamlab.plan import nodes
from streamlab.runtime.client import client
from streamlab.runtime.client.client import launch
from streamlab.runtime.tables.results import ResultTable

OPTIONS = {"parallelism": 2, "checkpoint_every_ms": 100, "restart_delay_ms": 50}


def counted(start: int, n: int) -> pl.DataFrame:
    number = pl.int_range(start, start + n, eager=True)
    # Every hundredth row comes two seconds late, and the watermark waits for one.
    late = pl.when(number % 100 == 99).then(2_000_000).otherwise(0)
    time = (number * 1_000 - pl.select(late).to_series()).cast(pl.Datetime("us"))
    return pl.DataFrame({"t": time, "k": number % 7, "v": number})


def stream() -> sl.StreamFrame:
    return sl.generate(counted, rows_per_second=15_000, event_time="t", watermark="1s", name="numbers")


def windows() -> sl.StreamFrame:
    return stream().group_by_dynamic("t", every="1s", group_by="k").agg(pl.len().alias("n"), pl.col("v").sum())


def groups() -> sl.StreamFrame:
    return stream().group_by("k").agg(pl.len().alias("n"), pl.col("v").sum())


def graph_of(frame: sl.StreamFrame, sink: ResultTable | ParquetSink | None = None) -> JobGraph:
    plan = frame._plan
    keys = ("k",) if plan.updating else None
    sink = sink or ResultTable("results", plan.schema, keys)
    return lower(nodes.Write(input=plan, sink=sink, step=sink.name, schema=plan.schema), 2)


def processes(job: Job) -> dict[str, int]:
    found = job._handle.folder.read_processes()
    assert found is not None
    assert found.guardian is not None
    workers = {f"worker {index}": process.pid for index, process in enumerate(found.workers)}
    return {"coordinator": found.coordinator.pid, "guardian": found.guardian.pid, **workers}


def has_guardian(job: Job, other_than: int) -> bool:
    found = job._handle.folder.read_processes()
    return found is not None and found.guardian is not None and found.guardian.pid != other_than


def is_under_way(job: Job, attempt: int = 1) -> bool:
    """Whether there is something to lose in an attempt, or a later one: it runs and has taken a checkpoint."""
    report = job.report()
    complete = any(c.state == "complete" and c.attempt == report.attempt for c in report.checkpoints)
    return report.attempt >= attempt and report.state == "running" and complete


@pytest.mark.parametrize("query", [windows, groups])
@pytest.mark.parametrize(
    ("who", "number"),
    [
        ("worker 0", signal.SIGKILL),
        ("worker 1", signal.SIGSTOP),
        ("coordinator", signal.SIGKILL),
        ("coordinator", signal.SIGSTOP),
    ],
)
def test_a_job_goes_on_from_its_last_checkpoint(start, query, who, number):
    job = start(graph_of(query()), **OPTIONS, heartbeat_timeout_ms=3_000 if number == signal.SIGSTOP else 60_000)
    eventually(lambda: is_under_way(job), "a first checkpoint")
    os.kill(processes(job)[who], number)
    eventually(lambda: is_under_way(job, 2), "a checkpoint of the second attempt")
    assert job.stop(drain=True) == "stopped"
    report = job.report()
    total = report.rows_in
    assert report.restarts >= 1
    assert report.restored_checkpoint is not None
    table = job.results()
    late = job.late_rows()
    missing = late["v"].to_list() if late.width else []
    assert len(set(missing)) == len(missing)
    assert table["n"].sum() + len(missing) == total
    assert table["v"].sum() + sum(missing) == sum(range(total))
    assert report.late_rows == len(missing)
    if query is windows:
        assert table.height == table.select("t", "k").n_unique()


@pytest.mark.parametrize("gap_s", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("order", [("guardian", "coordinator"), ("coordinator", "guardian")])
def test_a_job_goes_on_although_guardian_and_coordinator_are_killed_together(start, order, gap_s):
    job = start(graph_of(groups()), **OPTIONS)
    eventually(lambda: is_under_way(job), "a first checkpoint")
    before = processes(job)
    for who in order:
        os.kill(before[who], signal.SIGKILL)
        time.sleep(gap_s)
    eventually(lambda: is_under_way(job, 2) and has_guardian(job, before["guardian"]), "a checkpoint of the second")
    assert job.stop(drain=True) == "stopped"
    total = job.report().rows_in
    assert job.results()["n"].sum() == total
    assert job.results()["v"].sum() == sum(range(total))


def test_a_job_goes_on_when_all_of_its_processes_were_killed(start):
    job = start(graph_of(groups()), **OPTIONS)
    eventually(lambda: is_under_way(job), "a first checkpoint")
    eventually(lambda: has_guardian(job, other_than=0), "a guardian")
    before = processes(job)
    for pid in before.values():
        os.kill(pid, signal.SIGSTOP)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_under_way(job, 2) and has_guardian(job, before["guardian"]), "a checkpoint of the second")
    assert job.stop(drain=True) == "stopped"
    total = job.report().rows_in
    assert job.results()["n"].sum() == total
    assert job.results()["v"].sum() == sum(range(total))


def test_whoever_asks_for_results_alone_has_a_killed_job_go_on(start):
    job = start(graph_of(groups()), **OPTIONS)
    eventually(lambda: is_under_way(job), "a first checkpoint")
    eventually(lambda: has_guardian(job, other_than=0), "a guardian")
    for pid in processes(job).values():
        os.kill(pid, signal.SIGKILL)
    before = job.results()["n"].sum()
    eventually(lambda: job.results()["n"].sum() > before + 15_000, "rows of a second more")
    assert job.stop(drain=True) == "stopped"
    assert job.results()["n"].sum() == job.report().rows_in


def test_a_killed_guardian_is_not_missed(start):
    job = start(graph_of(groups()), **OPTIONS)
    eventually(lambda: is_under_way(job), "a first checkpoint")
    os.kill(processes(job)["guardian"], signal.SIGKILL)
    before = job.report().rows_in
    eventually(lambda: job.report().rows_in > before, "rows go on")
    assert job.stop() == "stopped"
    assert job.results()["n"].sum() == job.report().rows_in


@pytest.mark.parametrize("detach", [False, True])
def test_a_killed_guardian_has_a_successor_which_does_what_it_did(start, detach):
    job = start(graph_of(groups()), **OPTIONS, detach=detach)
    for attempt in (1, 2):
        eventually(lambda: is_under_way(job, attempt), "a checkpoint")  # noqa: B023
        eventually(lambda: has_guardian(job, other_than=0), "a guardian")
        before = processes(job)
        os.kill(before["guardian"], signal.SIGKILL)
        eventually(lambda: has_guardian(job, other_than=before["guardian"]), "a successor")  # noqa: B023
        assert processes(job)["coordinator"] == before["coordinator"]
        os.kill(before["coordinator"], signal.SIGKILL)
    eventually(lambda: is_under_way(job, 3) and has_guardian(job, other_than=0), "a checkpoint of the third attempt")
    guardian = processes(job)["guardian"]
    assert job.stop() == "stopped"
    assert job.results()["n"].sum() == job.report().rows_in
    eventually(lambda: not psutil.pid_exists(guardian), "the end of the last guardian")


def test_killed_again_and_again_no_row_is_lost_or_counted_twice(start, tmp_path):
    sink = ParquetSink("write", str(tmp_path / "out"))
    job = start(graph_of(stream().select("v"), sink), **OPTIONS)
    for attempt, who in enumerate(("worker 0", "coordinator", "worker 0"), start=1):
        eventually(lambda: is_under_way(job, attempt), "a checkpoint")  # noqa: B023
        os.kill(processes(job)[who], signal.SIGKILL)
    eventually(lambda: is_under_way(job, 4), "a checkpoint of the fourth attempt")
    assert job.stop() == "stopped"
    assert job.report().restarts >= 3
    written = pl.read_parquet(tmp_path / "out")
    assert sorted(written["v"].to_list()) == list(range(job.report().rows_in))
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


def cannot_reach(frame: pl.DataFrame) -> pl.DataFrame:
    message = f"nobody answers to {frame['v'][0]}"
    raise ConnectionError(message)


def test_what_fails_at_the_same_rows_three_times_is_not_tried_again(start):
    job = start(graph_of(stream().map_batches(cannot_reach)), **OPTIONS)
    with pytest.raises(StepFailed, match="map_batches cannot_reach: ConnectionError: nobody answers to 0"):
        job.wait(60)
    assert job.report().attempt >= 3
    assert job.report().failure.sample


def test_what_a_function_says_of_a_row_is_not_tried_again(start):
    job = start(graph_of(stream().map_batches(raises)), **OPTIONS)
    with pytest.raises(StepFailed, match="map_batches raises: ValueError: cannot bear 0"):
        job.wait(60)
    assert job.report().attempt == 1
    assert job.report().failure.sample


def test_a_job_ends_with_its_client_although_it_could_be_restarted(tmp_path):
    job = Job(launch(graph_of(groups()), JobOptions("job", **OPTIONS)))
    eventually(lambda: is_under_way(job), "a first checkpoint")
    pids = processes(job)
    client._crews[job.id].coordinator.close()
    eventually(
        lambda: not any(psutil.pid_exists(pid) for pid in pids.values() if pid != pids["coordinator"]), "the end"
    )
    assert job.wait(60) == "cancelled"


def test_a_full_store_does_not_end_the_job(start):
    job = start(graph_of(groups()), **{**OPTIONS, "checkpoint_every_ms": 50})
    eventually(lambda: is_under_way(job), "a first checkpoint")
    state = Path(job._handle.folder.path) / "checkpoints"
    state.rename(state.with_name("elsewhere"))
    state.touch()
    eventually(lambda: any(c.state == "failed" for c in job.report().checkpoints), "a checkpoint that fails")
    assert job.report().state == "running"
    state.unlink()
    assert job.stop() == "stopped"
    assert job.results()["n"].sum() == job.report().rows_in
