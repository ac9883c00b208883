"""User code and processes that misbehave: the job fails with the reason, everything else goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import cluster_jobs
import psutil
import pytest
from cluster_jobs import ROWS, FullTable, NeverCommits, rows, slow, starts_a_process, totals
from patience import eventually

from streamlab.core.errors import JobError, SinkError, StateError, StepFailed, WorkerLost
from streamlab.core.options import JobOptions
from streamlab.job.job import Job
from streamlab.runtime.client.client import _crews, launch, list_jobs


def has_rows(job: Job) -> bool:
    return job.report().rows_in > 0


def coordinator_of(job: Job) -> int:
    return job._handle.folder.read_processes().coordinator.pid


def workers_of(job: Job) -> list[psutil.Process]:
    children = psutil.Process(coordinator_of(job)).children()
    return [child for child in children if "streamlab.runtime.worker" in child.cmdline()]


@pytest.mark.parametrize(
    ("function", "kind", "says"),
    [
        ("raises", StepFailed, "mine: ValueError: cannot bear 0"),
        ("exits_politely", StepFailed, "mine: SystemExit: enough"),
        ("exits", WorkerLost, "mine: .* exited with code 3"),
        ("is_killed", WorkerLost, "mine: .* killed by SIGKILL"),
        ("crashes", WorkerLost, "mine: .* killed by SIGSEGV"),
        ("never_returns", StepFailed, "mine: .* return within 1 s"),
        ("hogs", WorkerLost, "mine: .* did not answer for 3 s"),
    ],
)
def test_a_function_that_misbehaves_fails_its_job_and_is_shown(start, function, kind, says):
    bystander = start(rows(slow), "bystander")
    eventually(lambda: has_rows(bystander), "rows arrive")
    options = {"never_returns": {"step_timeout_ms": 1_000}, "hogs": {"heartbeat_timeout_ms": 3_000}}
    job = start(rows(getattr(cluster_jobs, function)), **options.get(function, {}))
    with pytest.raises(kind, match=says) as raised:
        job.wait(60)
    assert job.status == "failed"
    assert "Rows that the step 'mine' was given:" in str(raised.value)
    assert "i64" in str(raised.value)
    assert type(job.exception) is kind
    assert job.report().failure.step == "mine"
    assert job.report().failure.message.splitlines()[0] in job.log()
    if function not in {"exits", "is_killed"}:
        assert "cluster_jobs.py" in job.report().failure.traceback
        # The user's frames and the step's, none of the loop around them.
        assert "streamlab/runtime" not in job.report().failure.traceback
    before = bystander.report().rows_in
    eventually(lambda: bystander.report().rows_in > before, "the other job goes on")


def test_a_sink_whose_commit_does_not_return_is_named(start):
    job = start(rows(total=100, sink=NeverCommits("results", ROWS)), commit_timeout_ms=1_000)
    with pytest.raises(
        StepFailed, match=r"results: needs each commit to return within 1 s(?s:.)*raise commit_timeout_ms"
    ):
        job.wait(60)
    assert "in commit" in job.report().failure.traceback


def test_a_process_that_user_code_has_started_ends_with_the_job(start):
    job = start(rows(starts_a_process))
    eventually(lambda: has_rows(job), "rows arrive")
    job.cancel()


def test_a_killed_worker_ends_the_job_with_the_reason(start):
    job = start(rows(slow))
    eventually(lambda: has_rows(job), "rows arrive")
    workers_of(job)[1].kill()
    with pytest.raises(WorkerLost, match="worker process 1 to stay alive, got it was killed by SIGKILL"):
        job.wait(60)
    assert job.results().height > 0


def test_a_stopped_worker_ends_the_job_with_the_reason(start):
    job = start(rows(slow), heartbeat_timeout_ms=2_000)
    eventually(lambda: has_rows(job), "rows arrive")
    workers_of(job)[0].suspend()
    with pytest.raises(WorkerLost, match=r"worker process 0 .* did not answer for 2 s"):
        job.wait(60)


def test_a_killed_coordinator_ends_the_job_with_the_reason(start):
    job = start(rows(slow))
    eventually(lambda: has_rows(job), "rows arrive")
    os.kill(coordinator_of(job), signal.SIGKILL)
    with pytest.raises(WorkerLost, match="coordinator"):
        job.wait(60)


def test_a_stopped_coordinator_ends_the_job_with_the_reason(start):
    job = start(rows(slow), heartbeat_timeout_ms=2_000)
    eventually(lambda: has_rows(job), "rows arrive")
    os.kill(coordinator_of(job), signal.SIGSTOP)
    with pytest.raises(WorkerLost, match="coordinator process did not answer"):
        job.wait(60)


def test_a_coordinator_that_is_told_to_end_cancels_the_job(start):
    job = start(rows(slow))
    eventually(lambda: has_rows(job), "rows arrive")
    os.kill(coordinator_of(job), signal.SIGTERM)
    assert job.wait(60) == "cancelled"


def test_an_interrupt_of_everything_does_not_reach_the_job(start):
    job = start(rows(slow))
    eventually(lambda: has_rows(job), "rows arrive")
    for process in [psutil.Process(coordinator_of(job)), *workers_of(job)]:
        process.send_signal(signal.SIGINT)
    before = job.report().rows_in
    eventually(lambda: job.report().rows_in > before + 100, "rows go on")


def test_a_full_disk_under_the_result_table_is_said(start):
    job = start(rows(sink=FullTable("results", ROWS)))
    with pytest.raises(SinkError, match="results: needs free space in the job's folder, got No space left on device"):
        job.wait(60)


def test_a_job_whose_folder_vanishes_ends(tmp_path):
    job = Job(launch(rows(slow), JobOptions(name="job")))
    eventually(lambda: has_rows(job), "rows arrive")
    job._handle.folder.path.rename(tmp_path / "elsewhere")
    with pytest.raises(JobError, match="its folder"):
        job.wait(60)
    assert job.id not in _crews


def test_an_empty_source_is_no_failure(start):
    job = start(totals(total=0))
    assert job.wait(60) == "finished"
    assert job.results().height == 0


# -- the client's end ----------------------------------------------------------------------------------------------

CLIENT = """
import signal, sys, time
sys.path.insert(0, {folder!r})
from cluster_jobs import rows, slow
from streamlab.core.options import JobOptions
from streamlab.runtime.client.client import launch
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
handle = launch(rows(slow), JobOptions(name="mine", **{options!r}))
print(handle.meta.id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def client():
    """Start a process in a group of its own, as a kernel is, that starts a job and then waits."""
    processes = []

    def start_client(**options: object):
        code = CLIENT.format(folder=os.path.dirname(cluster_jobs.__file__), options=options)
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        processes.append(process)
        job_id = process.stdout.readline().strip()
        job = Job(next(handle for handle in list_jobs() if handle.meta.id == job_id))
        eventually(lambda: has_rows(job), "rows arrive")
        return process, job

    yield start_client
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_job_ends_with_its_killed_client(client):
    process, job = client()
    os.killpg(process.pid, signal.SIGKILL)
    assert job.wait(30) == "cancelled"


def test_a_job_ends_with_its_killed_client_when_its_guardian_is_another_by_then(client):
    process, job = client(checkpoint_every_ms=100, restart_delay_ms=50)
    first = job._handle.folder.read_processes()
    os.kill(first.guardian.pid, signal.SIGKILL)
    eventually(lambda: job._handle.folder.read_processes().guardian not in {None, first.guardian}, "a successor")
    os.kill(first.coordinator.pid, signal.SIGKILL)
    eventually(lambda: job.report().attempt == 2 and job.status == "running", "another attempt")
    os.killpg(process.pid, signal.SIGKILL)
    assert job.wait(60) == "cancelled"


def test_a_job_ends_with_a_client_that_ends_politely(client):
    process, job = client()
    process.stdin.close()
    assert process.wait(30) == 0
    assert job.wait(30) == "cancelled"


def test_a_job_outlives_an_interrupt_of_its_client(client):
    process, job = client()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    before = job.report().rows_in
    eventually(lambda: job.report().rows_in > before + 100, "rows go on")


@pytest.mark.parametrize("politely", [True, False])
def test_a_detached_job_outlives_its_client(client, politely):
    process, job = client(detach=True)
    if politely:
        process.stdin.close()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    before = job.report().rows_in
    eventually(lambda: job.report().rows_in > before + 100, "rows go on")
    assert job.stop() == "stopped"


def test_a_detached_jobs_killed_coordinator_is_found_out_without_a_client(client):
    process, job = client(detach=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    os.kill(coordinator_of(job), signal.SIGKILL)
    folder = job._handle.folder
    eventually(lambda: folder.read_status().state == "failed", "a worker says so")
    assert "coordinator process ended unexpectedly" in folder.read_status().failure.message


def test_nothing_readable_is_still_a_clear_error(start):
    job = start(totals())
    job.wait(60)
    (job._handle.folder.path / "status.json").write_text("{")
    found = Job(next(iter(list_jobs())))
    assert found.status == "failed"
    with pytest.raises(StateError, match=r"readable status\.json"):
        found.wait(60)
