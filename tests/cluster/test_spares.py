"""Processes that wait for a job: the next one has them, and nobody notices; nobody else ever sees them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cluster_jobs
import polars as pl
import psutil
import pytest
from home_processes import processes_of
from patience import eventually

import streamlab as sl
from streamlab.core.errors import OptionError
from streamlab.runtime.client import spares as module
from streamlab.runtime.client.spares import SPARES

FRAME = pl.DataFrame({"k": ["a", "b"] * 5, "v": range(10)})
TOTALS = [("a", 20), ("b", 25)]
STOPPED = signal.SIGSTOP
WORKERS = 2


@pytest.fixture(autouse=True)
def spares(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STREAMLAB_SPARES", "on")
    yield
    SPARES.close()


def totals(**options: object) -> sl.Job:
    return sl.from_frame(FRAME).group_by("k").agg(pl.col("v").sum()).start(parallelism=WORKERS, **options)


def finished(job: sl.Job) -> list[tuple[str, int]]:
    assert job.wait(60) == "finished"
    return sorted(job.results().rows())


def pids(home: Path, role: str) -> set[int]:
    """Return the processes of this home whose module has this name."""
    lines = [line.split() for line in processes_of(home)]
    names = {int(line[0]): [word for word in line if word.startswith("streamlab.runtime.")] for line in lines}
    return {pid for pid, modules in names.items() if any(module.endswith(f".{role}") for module in modules)}


def wait_for_spares(home: Path) -> None:
    """Have spares, and wait until each of these processes has nothing left to do but wait."""
    SPARES.expect(WORKERS)
    eventually(lambda: len(pids(home, "worker")) == WORKERS, "workers")
    eventually(lambda: all(is_waiting(pid) for pid in pids(home, "worker")), "workers have imported everything")
    eventually(lambda: SPARES.held is not None and SPARES.held.coordinator.is_ready, "the coordinator says so")


def is_waiting(pid: int) -> bool:
    """Return whether a process sleeps, after it has imported what a job is run by."""
    process = psutil.Process(pid)
    libraries = " ".join(entry.path for entry in process.memory_maps())
    return process.status() == psutil.STATUS_SLEEPING and "msgspec" in libraries


@pytest.mark.parametrize("checkpoint_every", [None, "10s"])
def test_a_job_of_spares_is_like_any_other(home: Path, checkpoint_every: str | None) -> None:
    cold = totals(checkpoint_every=checkpoint_every)
    first = cold.processes()
    assert finished(cold) == TOTALS
    SPARES.close()
    wait_for_spares(home)
    waiting = {int(line.split()[0]) for line in processes_of(home)}
    assert [job.id for job in sl.jobs()] == [cold.id]
    warm = totals(checkpoint_every=checkpoint_every)
    folder = warm._handle.folder
    assert finished(warm) == TOTALS
    ran = folder.read_processes()
    assert {process.pid for process in (ran.coordinator, *ran.workers)} == waiting
    assert len(ran.workers) == WORKERS
    assert set(first["role"]) <= {"guardian", "coordinator", "worker"}
    assert warm.report().attempt == cold.report().attempt == 1
    assert [c.state for c in warm.report().checkpoints] == [c.state for c in cold.report().checkpoints]
    assert {path.name for path in folder.log.iterdir()} == {path.name for path in cold._handle.folder.log.iterdir()}


@pytest.fixture
def no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no spare started while a job runs, however long it takes on a busy machine."""
    monkeypatch.setattr(module, "_AFTER_START_S", 1000.0)


def test_processes_that_ran_no_code_of_the_users_are_spares_again(home: Path, no_others: None) -> None:
    ran = []
    for checkpoint_every in (None, "10s", "10s", None):
        job = totals(checkpoint_every=checkpoint_every)
        assert finished(job) == TOTALS
        found = job._handle.folder.read_processes()
        ran.append((found.coordinator, found.workers))
        assert (found.guardian is not None) == (checkpoint_every is not None)
    assert ran == [ran[0]] * 4
    assert len(processes_of(home)) == 1 + WORKERS


def test_nothing_piles_up_in_processes_that_do_one_job_after_the_other(home: Path, no_others: None) -> None:
    query = sl.from_frame(FRAME).group_by("k").agg(pl.col("v").sum())
    open_files = []
    for _ in range(6):
        assert sorted(query.collect(parallelism=WORKERS).rows()) == TOTALS
        open_files.append([psutil.Process(pid).num_fds() for pid in sorted(pids(home, "worker"))])
        assert SPARES.held is not None
        open_files[-1].append(psutil.Process(SPARES.held.coordinator.process.pid).num_fds())
    assert open_files[2:] == [open_files[2]] * 4
    assert len(processes_of(home)) == 1 + WORKERS


def test_processes_that_ran_code_of_the_users_end(home: Path) -> None:
    text = sl.from_frame(FRAME).with_columns(
        pl.col("v").map_elements(lambda number: f"{number:02}", return_dtype=pl.String)
    )
    job = text.start(parallelism=WORKERS, checkpoint_every=None)
    assert job.wait(60) == "finished"
    ran = job._handle.folder.read_processes()
    assert not any(process.is_alive for process in ran.all)


def test_a_failed_jobs_processes_end(home: Path, start) -> None:
    job = start(cluster_jobs.rows(cluster_jobs.raises))
    with pytest.raises(sl.StepFailed):
        job.wait(60)
    assert not any(process.is_alive for process in job._handle.folder.read_processes().all)


@pytest.mark.parametrize("number", [signal.SIGKILL, STOPPED])
@pytest.mark.parametrize("role", ["coordinator_process", "worker"])
@pytest.mark.parametrize("checkpoint_every", [None, "10s"])
def test_a_spare_that_died_or_hangs_is_no_harm(
    home: Path, role: str, checkpoint_every: str | None, number: int
) -> None:
    wait_for_spares(home)
    victims = pids(home, role)
    for pid in victims:
        os.kill(pid, number)
    job = totals(checkpoint_every=checkpoint_every)
    assert finished(job) == TOTALS
    assert job.report().attempt == 1
    assert not victims & {process.pid for process in job._handle.folder.read_processes().all}


def test_a_spare_that_dies_as_it_is_given_a_job_is_no_harm(home: Path) -> None:
    wait_for_spares(home)
    victims = pids(home, "worker")
    for pid in victims:
        os.kill(pid, STOPPED)
    job = totals(checkpoint_every=None)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert finished(job) == TOTALS
    assert job.report().attempt == 1


def changed_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def changed_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLARS_VERBOSE", "0")


def changed_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("change", [changed_folder, changed_variable, changed_search])
def test_a_spare_from_other_surroundings_is_not_used(home, monkeypatch, tmp_path, change) -> None:
    wait_for_spares(home)
    waiting = {int(line.split()[0]) for line in processes_of(home)}
    change(monkeypatch, tmp_path)
    job = totals(checkpoint_every=None)
    assert finished(job) == TOTALS
    assert not waiting & {process.pid for process in job._handle.folder.read_processes().all}


def test_beside_a_job_spares_are_started_when_a_processor_is_idle(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    idles_s = [0.0]

    def idle_s() -> float:
        looks.append(idles_s[0] * len(looks))
        return looks[-1]

    monkeypatch.setattr(module, "_AFTER_START_S", 0.001)
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "_LATEST_S", 1000.0)
    monkeypatch.setattr(module, "_idle_s", idle_s)
    job = sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=10).start()
    eventually(lambda: len(looks) > 10, "looks for an idle processor")
    assert SPARES.held is None
    idles_s[0] = 0.02
    eventually(lambda: SPARES.held is not None, "spares")
    job.cancel()


def test_without_spares_nothing_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLAB_SPARES", "off")
    assert finished(totals(checkpoint_every=None)) == TOTALS
    SPARES.expect(WORKERS)
    assert processes_of(home) == []


def test_neither_on_nor_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLAB_SPARES", "many")
    with pytest.raises(OptionError, match="STREAMLAB_SPARES: needs 'on' or 'off', got 'many'"):
        totals()


CLIENT = """
import sys
import polars as pl
import streamlab as sl
from streamlab.runtime.client.spares import SPARES
frame = pl.DataFrame({"k": [1], "v": [1]})
sl.from_frame(frame).group_by("k").agg(pl.col("v").sum()).collect(parallelism=2)
SPARES.expect(2)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def client(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process in a group of its own, as a kernel is, with spares."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    eventually(lambda: len(pids(home, "worker")) == WORKERS, "spares")
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.mark.parametrize("how", ["killed", "restarted", "ends"])
def test_spares_end_with_their_session(home: Path, client: subprocess.Popen[str], how: str) -> None:
    if how == "killed":
        os.killpg(client.pid, signal.SIGKILL)
    elif how == "restarted":
        os.killpg(client.pid, signal.SIGTERM)
    else:
        client.stdin.close()
    client.wait(30)
    eventually(lambda: not processes_of(home), lambda: f"the end of {processes_of(home)}")


def test_spares_outlive_an_interrupt_of_their_session(home: Path, client: subprocess.Popen[str]) -> None:
    before = pids(home, "worker") | pids(home, "coordinator_process")
    assert {os.getpgid(pid) for pid in before}.isdisjoint({client.pid})
