"""A job as users see it, over folders that hold what a coordinator would have written; no process is started."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

from streamlab.core import errors
from streamlab.core.errors import JobError, OptionError, StateError, StepFailed
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.options import JobOptions
from streamlab.job.job import Job
from streamlab.observe.status import CheckpointStatus, Failure, JobState, JobStatus, TaskStatus
from streamlab.runtime.client.client import JobHandle, find, list_jobs
from streamlab.runtime.client.sweeping import sweep
from streamlab.runtime.job_folder.folder import JobFolder, JobMeta, create_folder
from streamlab.runtime.job_folder.job_processes import JobProcesses
from streamlab.runtime.messages.protocol import Layout
from streamlab.runtime.process.processes import ProcessId, process_id


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMLAB_HOME", str(tmp_path))


def stored(name: str = "job", process: ProcessId | None = None, **status: object) -> JobFolder:
    folder = create_folder()
    folder.write_meta(
        JobMeta(
            id=folder.id,
            name=name,
            options=JobOptions(name),
            created_us=0,
            client=None,
            sockets=str(folder.path / "sockets"),
            layout=Layout(1, ()),
        )
    )
    if process is not None:
        folder.write_processes(JobProcesses(process))
    if status:
        folder.write_status(JobStatus(**{"id": folder.id, "name": name, "state": JobState.FINISHED, **status}))
    return folder


def job_with(**status: object) -> Job:
    return Job(JobHandle(stored(**status)))


FAILURE = Failure(message="map: boom", step="map", traceback="File x", sample="| 1 |")


@pytest.mark.parametrize(
    "kind", ["StepFailed", "SourceError", "SinkError", "WorkerLost", "StateError", "PlanError", "InternalError"]
)
def test_a_failure_is_raised_as_its_class(kind):
    job = job_with(state=JobState.FAILED, failure=msgspec.structs.replace(FAILURE, kind=kind))
    with pytest.raises(getattr(errors, kind), match="map: boom"):
        job.wait()
    assert job.status == "failed"


def test_a_failed_step_carries_what_is_known_of_it():
    error = job_with(state=JobState.FAILED, failure=FAILURE).exception
    assert isinstance(error, StepFailed)
    assert (error.step, error.traceback_text, error.sample) == ("map", "File x", "| 1 |")
    for part in ("map: boom", "File x", "| 1 |"):
        assert part in str(error)


@pytest.mark.parametrize("kind", ["", "Exception", "explained", "__doc__"])
def test_a_failure_of_an_unknown_kind_is_a_failed_step(kind):
    failure = msgspec.structs.replace(FAILURE, kind=kind)
    assert isinstance(job_with(state=JobState.FAILED, failure=failure).exception, StepFailed)


def test_html_is_escaped_everywhere():
    failure = Failure(message="<script>a", sample="<script>b", traceback="<script>c")
    page = job_with(name="<i>n", state=JobState.FAILED, failure=failure)._repr_html_()
    assert "<script>" not in page
    assert "<i>" not in page
    assert page.count("&lt;script&gt;") == 3


def test_metrics_have_the_same_columns_with_and_without_tasks():
    task = TaskStatus(vertex="v", subtask=1, steps=("a", "b"), rows_in=2**40, watermark_us=5, lag_ms=1.5)
    empty, one = job_with(rows_in=1).metrics(), job_with(tasks=(task,)).metrics()
    assert empty.schema == one.schema
    assert one.select("steps", "rows_in", "lag_ms").row(0) == ("a → b", 2**40, 1.5)


def test_watermarks_are_times_only_while_they_are_times():
    tasks = tuple(TaskStatus(vertex="v", subtask=n, watermark_us=us) for n, us in enumerate([None, 0, MAX_TIME_US]))
    marks = job_with(tasks=tasks).watermarks()
    assert marks.schema["watermark"] == pl.Datetime("us", "UTC")
    assert marks["watermark"].is_null().to_list() == [True, False, True]
    assert marks["at_end"].to_list() == [False, False, True]


def test_ended_jobs_refuse_requests_but_not_to_end():
    job = job_with(state=JobState.FINISHED)
    with pytest.raises(JobError, match="finished"):
        job.pause()
    assert job.stop() == job.cancel() == "finished"


@pytest.mark.parametrize("timeout", [-1, "soon", "1mo", float("nan"), True, [1]])
def test_bad_timeouts(timeout):
    with pytest.raises(OptionError, match="timeout"):
        job_with(rows_in=1).wait(timeout)


def test_a_job_without_results_has_an_empty_table():
    job = job_with(rows_in=1)
    assert job.results().shape == job.to_pandas().shape == (0, 0)
    assert job.changelog().columns == ["op"]
    assert job.late_rows().height == 0


def test_a_vanished_coordinator_is_a_failed_job():
    gone = ProcessId(process_id().pid, "before this boot")
    job = Job(JobHandle(stored(process=gone, state=JobState.RUNNING, rows_in=7)))
    assert job.status == "failed"
    assert "coordinator process ended unexpectedly" in str(job.exception)
    assert job.report().rows_in == 7


@pytest.mark.parametrize("gone", [False, True], ids=["cancelled", "coordinator gone"])
def test_a_checkpoint_that_an_ended_job_was_taking_is_given_up(gone):
    kept = CheckpointStatus(id=1, triggered_us=1, state="complete")
    begun = CheckpointStatus(id=2, triggered_us=2)
    state = JobState.RUNNING if gone else JobState.CANCELLED
    process = ProcessId(process_id().pid, "before this boot") if gone else None
    job = Job(JobHandle(stored(process=process, state=state, checkpoints=(kept, begun))))
    table = job.checkpoints.to_frame()
    assert table["state"].to_list() == ["complete", "abandoned"]
    assert table["reason"].to_list() == ["", "the job ended before it was complete"]
    assert [one.state for one in job.report().checkpoints] == ["complete", "abandoned"]
    assert all(finding.kind == "failure" for finding in job.diagnosis())


def test_a_coordinator_that_never_came_is_a_failed_job():
    assert Job(JobHandle(stored())).status == "failed"


def test_a_living_coordinator_is_believed():
    assert Job(JobHandle(stored(process=process_id(), state=JobState.RUNNING))).status == "running"


def test_a_removed_folder_is_an_error_unless_the_end_was_seen():
    seen, unseen = job_with(rows_in=1), job_with(state=JobState.RUNNING, process=process_id())
    assert seen.status == "finished"
    for job in (seen, unseen):
        job._handle.folder.remove()
    assert seen.status == "finished"
    with pytest.raises(JobError, match="folder"):
        unseen.report()


def test_a_damaged_folder_harms_no_other_job():
    good, bad, worse = (stored(name=name, rows_in=1) for name in ("good", "bad", "worse"))
    (bad.path / "status.json").write_text("{")
    (worse.path / "meta.json").write_text("{")
    assert [h.meta.name for h in list_jobs()] == ["good", "bad"]
    assert find("good").meta.id == good.id
    assert [job.name for job in sweep(keep=0)[0]] == ["good"]
    (left,) = list_jobs()
    assert left.meta.name == "bad"
    assert "status.json" in repr(Job(left))
    with pytest.raises(StateError, match=r"status\.json"):
        Job(left).wait()
    # While it runs, the next status takes the place of a damaged one.
    bad.write_processes(JobProcesses(process_id()))
    assert left.status().state == "starting"


def test_a_job_that_restarts_says_so_and_why():
    lost = Failure(message="map: got <SIGKILL>.\n  → look", kind="WorkerLost")
    job = job_with(process=process_id(), state=JobState.RESTARTING, restarts=2, last_failure=lost, rows_in=70)
    text = repr(job)
    assert ": restarting, rows in 70, " in text
    assert text.endswith("restarts 2, restarts after map: got <SIGKILL>.>")
    assert "map: got &lt;SIGKILL&gt;." in job._repr_html_()
