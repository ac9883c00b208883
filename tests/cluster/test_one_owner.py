"""One name, one job; one folder, one coordinator: also at the same instant, and after all who knew have died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import psutil
import pytest
from patience import eventually

import streamlab as sl
from streamlab.core.process_id import ProcessId, process_id
from streamlab.observe.status import JobState
from streamlab.runtime.client import client
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.job_folder.job_processes import JobProcesses
from streamlab.runtime.messages.protocol import KEY_BYTES
from streamlab.runtime.tables.results import read_attempts


def endless() -> sl.StreamFrame:
    return sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=1_000)


@pytest.fixture
def job() -> Iterator[sl.Job]:
    job = endless().start("mine", parallelism=2, checkpoint_every="100ms")
    eventually(lambda: any(c.state == "complete" for c in job.report().checkpoints), "a checkpoint")
    yield job
    job.cancel()


def folder_of(job: sl.Job) -> JobFolder:
    return job._handle.folder


def processes_of(job: sl.Job) -> JobProcesses:
    found = folder_of(job).read_processes()
    assert found is not None
    return found


def kill_all(job: sl.Job) -> None:
    """Leave nobody who could say what became of the job."""
    # At one moment: a coordinator whose guardian dies first would start another one.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes_of(job).all:
            if process.is_alive:
                os.kill(process.pid, number)
    eventually(lambda: not any(process.is_alive for process in processes_of(job).all), "the end of all")


def coordinator(folder: JobFolder) -> subprocess.Popen[bytes]:
    """Start one more coordinator on a folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlab.runtime.supervisor.supervisor", str(folder.path)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(bytes(KEY_BYTES))
    process.stdin.flush()
    return process


def said(process: subprocess.Popen[bytes]) -> str:
    """Return what a process that ends by itself has said."""
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    return process.communicate(timeout=60)[1].decode()


def test_a_second_coordinator_on_a_folder_is_refused_and_harms_nobody(job: sl.Job):
    before = processes_of(job)
    second = coordinator(folder_of(job))
    text = said(second)
    assert second.returncode == 1
    assert f"needs a folder that no other coordinator works in, got process {before.coordinator.pid}" in text
    assert "Traceback" not in text
    assert processes_of(job) == before
    assert all(process.is_alive for process in before.all)
    read = job.report().rows_in
    eventually(lambda: job.report().rows_in > read, "rows go on")
    assert job.report().attempt == 1


def test_of_two_coordinators_at_the_same_instant_one_takes_a_dead_job_over(job: sl.Job):
    kill_all(job)
    both = [coordinator(folder_of(job)) for _ in range(2)]
    eventually(lambda: any(process.poll() is not None for process in both), "the end of one")
    (refused,) = [process for process in both if process.poll() is not None]
    (taken,) = [process for process in both if process is not refused]
    assert "needs a folder that no other coordinator works in" in said(refused)
    eventually(lambda: processes_of(job).coordinator == process_id(taken.pid), "the other one on record")
    eventually(lambda: len(read_attempts(folder_of(job).results)) == 2, "a second attempt")
    assert taken.poll() is None
    taken.terminate()
    said(taken)


def test_the_name_of_a_job_whose_processes_have_all_died_is_free_although_their_numbers_are_used_again(
    job: sl.Job, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(client, "_MOST_HEIRS", 0)  # as if another process had started it
    kill_all(job)
    stranger = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        mine = process_id(stranger.pid)
        assert mine is not None
        # The number of a process that has died is given to another one: only its start tells them apart.
        reused = ProcessId(mine.pid, f"{mine.started}0")
        folder_of(job).write_processes(JobProcesses(reused, reused, (reused, reused)))
        again = endless().start("mine", parallelism=1)
        assert again.id != job.id
        assert job.status == "failed"
        again.cancel()
        assert stranger.poll() is None
        # One who takes the folder over ends what is left of the last attempt, but no stranger.
        status = folder_of(job).read_status()
        folder_of(job).write_status(msgspec.structs.replace(status, state=JobState.RUNNING))
        third = coordinator(folder_of(job))
        eventually(lambda: len(read_attempts(folder_of(job).results)) == 2, "another attempt")
        third.terminate()
        said(third)
        assert stranger.poll() is None
    finally:
        assert stranger.stdin is not None
        stranger.stdin.close()
        stranger.wait(30)


SCRIPT = """
import os, sys, time
import polars as pl
import streamlab as sl
stream = sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=100)
print("ready", flush=True)
sys.stdin.readline()
try:
    stream.start("the one", parallelism=1, detach=True)
    print("started")
except sl.OptionError as error:
    print(error)
"""


def test_of_starts_of_one_name_at_the_same_instant_one_is_taken():
    clients = [
        subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        assert [client.stdout.readline() for client in clients] == ["ready\n"] * 2
        for client in clients:
            client.stdin.write("go\n")
            client.stdin.flush()
        answers = [client.communicate(timeout=60)[0] for client in clients]
    finally:
        for client in clients:
            client.kill()
            client.wait()
    assert sorted(answer.startswith("started") for answer in answers) == [False, True]
    assert all("needs a name that no running job has" in answer for answer in answers if answer != "started\n")
    assert len([job for job in sl.jobs() if job.name == "the one"]) == 1
    assert sl.attach("the one").cancel() == "cancelled"


def test_a_lock_that_a_process_has_left_behind_counts_for_nothing(job: sl.Job):
    """The guardian starts another coordinator on the same folder, whose lock file names the one that was killed."""
    before = processes_of(job).coordinator
    lock = Path(folder_of(job).path) / "coordinator.lock"
    assert lock.read_text() == str(before.pid)
    psutil.Process(before.pid).kill()
    eventually(lambda: job.report().attempt > 1 and job.report().state == "running", "the next attempt")
    assert lock.read_text() == str(processes_of(job).coordinator.pid)
