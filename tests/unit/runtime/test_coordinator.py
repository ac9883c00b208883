"""The coordinator, by calling `handle`."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure, JobState, TaskStatus
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.coordinator.placement import worker_count, worker_of
from streamlab.runtime.messages import protocol as p
from streamlab.runtime.messages.protocol import VertexLayout
from streamlab.state.checkpoints.manifest import KnownSplit, TaskState

SOURCE = VertexLayout("source", ("source",), 2, is_source=True, is_sink=False)
SINK = VertexLayout("sink", ("sink",), 1, is_source=False, is_sink=True)
LAYOUT = p.Layout(2, (SOURCE, SINK))
TASKS = [("source", 0), ("source", 1), ("sink", 0)]
FAILURE = Failure(message="boom", step="map")
SPLITS = {"source": (KnownSplit("a", 10), KnownSplit("b"))}


def new(**options: object) -> Coordinator:
    return Coordinator("j-1", JobOptions("job", **options), LAYOUT, submitted_us=0)


def running(**options: object) -> Coordinator:
    coordinator = new(**options)
    coordinator.start(1)
    coordinator.handle(p.WorkerStarted(0, 1, SPLITS, 100), 2)
    coordinator.handle(p.WorkerStarted(1, 1), 3)
    assert coordinator.state == JobState.RUNNING
    return coordinator


def task(vertex: str, subtask: int, **figures: object) -> TaskStatus:
    return TaskStatus(vertex=vertex, subtask=subtask, **figures)


def finished(vertex: str, subtask: int, **figures: object) -> p.TaskFinished:
    part = TaskState(vertex, subtask, finished=True)
    return p.TaskFinished(subtask, 1, task(vertex, subtask, **figures), part)


def finish_all(coordinator: Coordinator, now_us: int = 10) -> list[p.Command]:
    """End all tasks, and have both workers commit; return what follows the last of it."""
    for vertex, subtask in TASKS:
        commands = coordinator.handle(finished(vertex, subtask), now_us)
    (commit,) = (command for command in commands if isinstance(command, p.CommitCheckpoint))
    coordinator.handle(p.Committed(0, 1, commit.checkpoint_id), now_us)
    return coordinator.handle(p.Committed(1, 1, commit.checkpoint_id), now_us)


def kinds(commands: list[p.Command]) -> list[type]:
    return [type(command) for command in commands]


def test_start_asks_for_as_many_workers_as_the_widest_vertex_has_subtasks():
    commands = new().start(1)
    assert commands[0] == p.StartWorkers(attempt=1, count=2, layout=LAYOUT)
    assert commands[1].status.state == JobState.STARTING


def test_deploys_once_all_workers_are_there_and_the_splits_are_known():
    coordinator = new()
    coordinator.start(1)
    assert coordinator.handle(p.WorkerStarted(1, 1), 2) == []
    commands = coordinator.handle(p.WorkerStarted(0, 1, SPLITS, 7), 3)
    assert commands[0] == p.Deploy(SPLITS)
    assert commands[1].status.state == JobState.RUNNING
    assert commands[1].status.rows_total == 7


def test_all_tasks_finished_and_committed_ends_the_job():
    coordinator = running()
    for vertex, subtask in TASKS[:-1]:
        assert coordinator.handle(finished(vertex, subtask), 5) == []
    (commit,) = coordinator.handle(finished("sink", 0, rows_out=4), 6)
    assert coordinator.handle(p.Committed(1, 1, commit.checkpoint_id), 6) == []
    commands = coordinator.handle(p.Committed(0, 1, commit.checkpoint_id), 6)
    assert kinds(commands) == [p.Dismiss, p.Finish]
    assert commands[1].status.state == JobState.FINISHED
    assert commands[1].status.ended_us == 6
    assert commands[1].status.rows_out == 4


def test_stop_ends_sources_and_then_counts_as_stopped():
    coordinator = running()
    assert kinds(coordinator.handle(p.StopRequested(), 5)) == [p.StopSources, p.Publish]
    assert coordinator.state == JobState.STOPPING
    assert coordinator.handle(p.StopRequested(), 6) == []
    assert finish_all(coordinator)[-1].status.state == JobState.STOPPED


def test_sources_stop_when_the_sinks_have_ended_before_them():
    coordinator = running()
    assert p.StopSources() in coordinator.handle(finished("sink", 0), 1)
    assert p.StopSources() not in coordinator.handle(finished("source", 0), 2)
    assert coordinator.handle(finished("source", 1), 3) == [p.CommitCheckpoint(1)]


def test_requests_before_deployment_hold_once_deployed():
    coordinator = new()
    coordinator.start(1)
    (said,) = coordinator.handle(p.PauseRequested(), 1)
    assert said.status.wish == "pause"
    coordinator.handle(p.WorkerStarted(1, 1), 2)
    commands = coordinator.handle(p.WorkerStarted(0, 1, SPLITS), 3)
    assert kinds(commands) == [p.SetPaused, p.Deploy, p.Publish]
    assert coordinator.state == JobState.PAUSED

    coordinator = new()
    coordinator.start(1)
    coordinator.handle(p.StopRequested(), 1)
    coordinator.handle(p.WorkerStarted(1, 1), 2)
    commands = coordinator.handle(p.WorkerStarted(0, 1, SPLITS), 3)
    assert kinds(commands) == [p.Deploy, p.StopSources, p.Publish]
    assert coordinator.state == JobState.STOPPING


def test_pause_and_resume():
    coordinator = running()
    assert coordinator.handle(p.PauseRequested(), 5)[0] == p.SetPaused(paused=True)
    assert coordinator.handle(p.PauseRequested(), 6) == []
    assert coordinator.state == JobState.PAUSED
    assert coordinator.handle(p.ResumeRequested(), 7)[0] == p.SetPaused(paused=False)
    assert coordinator.state == JobState.RUNNING


def test_a_paused_job_can_be_stopped_and_not_paused_again():
    coordinator = running()
    coordinator.handle(p.PauseRequested(), 5)
    coordinator.handle(p.StopRequested(), 6)
    assert coordinator.handle(p.PauseRequested(), 7) == []
    assert coordinator.state == JobState.STOPPING


@pytest.mark.parametrize(
    ("event", "state", "kind"),
    [
        (p.TaskFailed(0, 1, FAILURE), JobState.FAILED, "StepFailed"),
        (p.WorkerLost(1, 1, Failure(message="gone", kind="WorkerLost")), JobState.FAILED, "WorkerLost"),
        (p.JobFolderFailed("No space left on device"), JobState.FAILED, "StateError"),
        (p.CancelRequested(), JobState.CANCELLED, None),
    ],
)
@pytest.mark.parametrize("starting", [True, False])
def test_what_ends_a_job_at_any_time(event, state, kind, starting):
    coordinator = new() if starting else running()
    if starting:
        coordinator.start(1)
    commands = coordinator.handle(event, 9)
    assert kinds(commands) == [p.Dismiss, p.Finish]
    assert commands[1].status.state == state
    assert (commands[1].status.failure.kind if kind else commands[1].status.failure) == kind


def test_events_of_another_attempt_are_ignored():
    coordinator = running()
    assert coordinator.handle(p.TaskFailed(0, 0, FAILURE), 5) == []
    assert coordinator.state == JobState.RUNNING


def test_a_silent_worker_is_inspected_once():
    coordinator = running(heartbeat_timeout_ms=2_000)
    inspected = []
    for second in range(1, 6):
        now_us = second * 1_000_000
        coordinator.handle(p.WorkerReport(0, 1), now_us)
        commands = coordinator.handle(p.Tick(1_000_000), now_us)
        assert p.Ping() in commands
        inspected += [c.worker for c in commands if isinstance(c, p.InspectWorker)]
    assert inspected == [1]


def test_a_worker_may_take_a_minute_to_start():
    coordinator = new(heartbeat_timeout_ms=2_000)
    coordinator.start(0)
    asked = [p.InspectWorker in kinds(coordinator.handle(p.Tick(1_000_000), s * 1_000_000)) for s in range(1, 70)]
    assert asked.index(True) == 60


def test_a_suspended_machine_makes_no_worker_look_lost():
    coordinator = running(heartbeat_timeout_ms=2_000)
    assert p.InspectWorker not in kinds(coordinator.handle(p.Tick(3_600_000_000), 3_600_000_000))


def test_figures_are_summed_over_tasks():
    coordinator = running()
    coordinator.handle(
        p.WorkerReport(
            0, 1, (task("source", 0, rows_in=3, watermark_us=50), task("sink", 0, rows_out=2, late_rows=1)), 40
        ),
        200_000,
    )
    commands = coordinator.handle(p.WorkerReport(1, 1, (task("source", 1, rows_in=4, watermark_us=30),), 20), 400_000)
    status = commands[0].status
    assert (status.rows_in, status.rows_out, status.late_rows, status.watermark_us) == (7, 2, 1, 30)
    assert status.started_us == 20
    assert [(t.vertex, t.subtask) for t in status.tasks] == TASKS


def test_a_late_report_does_not_undo_a_finished_task():
    coordinator = running()
    coordinator.handle(finished("source", 0, rows_in=9), 5)
    coordinator.handle(p.WorkerReport(0, 1, (task("source", 0, rows_in=3),)), 6)
    assert coordinator.status().tasks[0].rows_in == 9


def test_statuses_are_published_at_most_every_100_ms_and_at_least_every_second():
    coordinator = running()
    published = []
    for ms in range(0, 5_000, 10):
        if ms <= 1_000:
            coordinator.handle(p.WorkerReport(0, 1, (task("source", 0, rows_in=ms),)), ms * 1000)
        for command in coordinator.handle(p.Tick(10_000), ms * 1000):
            published += [ms] if isinstance(command, p.Publish) else []
    gaps = [b - a for a, b in pairwise(published)]
    assert min(gaps) >= 100
    assert max(gaps) <= 1_010


EVENTS = st.one_of(
    st.builds(p.WorkerStarted, st.integers(0, 1), st.integers(0, 2), st.sampled_from([None, SPLITS])),
    st.builds(p.WorkerReport, st.integers(0, 1), st.integers(0, 2)),
    st.sampled_from(TASKS).map(lambda t: finished(*t)),
    st.builds(p.Committed, st.integers(0, 1), st.integers(0, 2), st.integers(0, 3)),
    st.builds(p.TaskFailed, st.integers(0, 1), st.integers(0, 2), st.just(FAILURE)),
    st.builds(p.WorkerLost, st.integers(0, 1), st.integers(0, 2), st.just(FAILURE)),
    st.builds(p.Tick, st.integers(0, 10**7)),
    st.sampled_from([p.StopRequested(), p.CancelRequested(), p.PauseRequested(), p.ResumeRequested()]),
)


@given(st.lists(EVENTS, max_size=40))
def test_any_history_ends_at_most_once_and_deploys_at_most_once(events):
    coordinator = new()
    commands = coordinator.start(0)
    for now_us, event in enumerate(events):
        was_final = coordinator.state.is_final
        new_commands = coordinator.handle(event, now_us * 50_000)
        assert not (was_final and new_commands)
        commands += new_commands
    assert kinds(commands).count(p.Finish) == int(coordinator.state.is_final)
    assert kinds(commands).count(p.Deploy) <= 1
    assert (coordinator.status().failure is not None) == (coordinator.state == JobState.FAILED)


@given(EVENTS)
def test_events_survive_the_wire(event):
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=p.Event) == event


@given(st.lists(st.integers(1, 8), min_size=1, max_size=5), st.data())
def test_no_two_subtasks_of_a_vertex_share_a_worker(parallelisms, data):
    workers = worker_count(parallelisms)
    parallelism = data.draw(st.sampled_from(parallelisms))
    placed = [worker_of(subtask, workers) for subtask in range(parallelism)]
    assert len(set(placed)) == parallelism
    assert all(worker < workers for worker in placed)
