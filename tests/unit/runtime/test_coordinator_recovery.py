"""The coordinator of a job that takes checkpoints: what holds in every history, and what follows a failure."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from checkpointing_cluster import LOST, SECOND_US, Cluster, layout, rescaling
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.observe.status import JobState, TaskStatus
from streamlab.runtime.coordinator.attempt_state import Takeover
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.messages import protocol as p
from streamlab.state.checkpoints.manifest import TaskState


def running(**options: object) -> Cluster:
    cluster = Cluster(**options)
    cluster.settle()
    assert cluster.state == JobState.RUNNING
    return cluster


def kinds(commands: list[p.Command]) -> list[type]:
    return [type(command) for command in commands]


# -- all histories -------------------------------------------------------------------------------------------------

QUIET = ("start_worker", "snapshot", "commit", "end_task")
LOUD = ("lose", "fail", "fail_snapshot", "damage")
STEPS = st.one_of(
    st.tuples(st.sampled_from(QUIET), st.integers(0, 5)),
    st.tuples(st.sampled_from(("start_worker", "snapshot", "snapshot", "store", "store")), st.integers(0, 5)),
    st.tuples(st.sampled_from(LOUD), st.integers(0, 5)),
    st.tuples(st.just("ask"), st.sampled_from(["pause", "resume", "drain", "checkpoint", "rescale", "cancel"])),
    st.tuples(st.just("not_stored"), st.just(0)),
    st.tuples(st.just("tick"), st.sampled_from([50_000, 1_000_000])),
)


def play(cluster: Cluster, steps: list[tuple[str, object]]) -> None:
    for name, choice in steps:
        if name == "store":
            cluster.store()
        elif name == "not_stored":
            cluster.store(well=False)
        else:
            getattr(cluster, name)(choice)


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=60), st.integers(0, 1))
def test_any_history_keeps_the_laws_and_can_still_end_well(steps, how):
    cluster = Cluster(checkpoint_timeout_ms=3_000)
    play(cluster, steps)
    status = cluster.coordinator.status()
    assert [a.attempt for a in cluster.attempts] == list(range(1, len(cluster.attempts) + 1))
    assert all(a.attempt < b.attempt for a, b in pairwise(cluster.attempts))
    assert status.state.is_final == bool(cluster.finals)
    assert len(cluster.finals) <= 1
    assert (status.failure is not None) == (status.state == JobState.FAILED)
    if cluster.finals:
        return
    # Whatever has happened, the job is not stuck: it stops when asked to, with everything that was read.
    cluster.settle()
    if how:
        cluster.ask("drain")
    cluster.settle()
    cluster.end_all()
    cluster.settle()
    assert cluster.state == (JobState.STOPPED if cluster.asked == "drain" else JobState.FINISHED)
    assert all(task.finished for task in cluster.manifests[cluster.usable[-1]].tasks)


@settings(max_examples=100)
@given(st.lists(STEPS.filter(lambda step: step[0] != "ask"), max_size=40), st.data())
def test_a_stop_with_a_savepoint_ends_with_that_or_lets_the_job_go_on(steps, data):
    cluster = Cluster(checkpoint_timeout_ms=3_000)
    at = data.draw(st.integers(0, len(steps)))
    play(cluster, steps[:at])
    cluster.ask("savepoint")
    play(cluster, steps[at:])
    cluster.settle()
    assert p.StopSources not in kinds(cluster.commands)
    if not cluster.finals:
        # It could not be taken, and whoever asked is told: the job runs.
        assert cluster.state == JobState.RUNNING
        answers = [c for c in cluster.coordinator.status().checkpoints if c.request == "stop"]
        assert answers[-1].state in {"failed", "abandoned"}
        assert not cluster.held
    elif cluster.state == JobState.STOPPED:
        answers = [c for c in cluster.coordinator.status().checkpoints if c.request == "stop"]
        assert answers[-1].id == cluster.usable[-1]


@settings(max_examples=100)
@given(st.lists(STEPS, max_size=40), st.lists(STEPS, max_size=20))
def test_what_was_asked_for_outlives_the_coordinator(before, after):
    cluster = Cluster()
    play(cluster, before)
    status = cluster.coordinator.status()
    if cluster.finals:
        return
    manifests = tuple(cluster.manifests[one] for one in cluster.usable)
    number, ran = cluster.attempt, cluster.attempts[-1].layout
    successor = Coordinator(
        "j-1", cluster.options, cluster.first_layout, submitted_us=0, takeover=Takeover(number, ran, manifests, status)
    )
    cluster.coordinator, cluster.storing = successor, None
    cluster.ended.add(number)
    cluster.carry_out(successor.start(cluster.now_us))
    again = successor.status()
    assert (again.wish, again.savepoint, again.restarts) == (status.wish, status.savepoint, status.restarts + 1)
    assert not any(c.state == "running" for c in again.checkpoints)
    assert {c.id for c in status.checkpoints} <= {c.id for c in again.checkpoints}
    play(cluster, after)
    if not cluster.finals:
        cluster.settle()
        expected = {"pause": JobState.PAUSED, "drain": JobState.STOPPING, "run": JobState.RUNNING}
        assert cluster.finals or cluster.state == expected[cluster.asked]


# -- cases ---------------------------------------------------------------------------------------------------------


def test_the_next_attempt_starts_from_the_newest_checkpoint_that_is_whole():
    cluster = running()
    first, second = cluster.take_checkpoint(), cluster.take_checkpoint()
    cluster.lose(0)
    assert cluster.attempts[-1].restored == second
    cluster.settle()
    cluster.damaged.add(second)
    cluster.handle(p.RestoreFailed(0, 2, second, "a flipped bit"))
    cluster.settle()
    assert cluster.attempts[-1].restored == first
    states = {c.id: c.state for c in cluster.coordinator.status().checkpoints}
    assert states == {first: "complete", second: "damaged"}


def test_a_store_that_does_not_answer_says_nothing_of_the_checkpoint():
    cluster = running()
    newest = cluster.take_checkpoint()
    cluster.lose(0)
    cluster.settle()
    cluster.handle(p.RestoreFailed(0, 2, newest, "connection refused", unreachable=True))
    cluster.settle()
    assert cluster.attempts[-1].restored == newest
    assert cluster.state == JobState.RUNNING


def test_the_only_checkpoint_being_damaged_ends_the_job_with_the_file_named():
    cluster = running()
    only = cluster.take_checkpoint()
    cluster.lose(0)
    cluster.settle()
    cluster.handle(p.RestoreFailed(0, 2, only, "state/12.arrow: a flipped bit"))
    assert cluster.state == JobState.FAILED
    failure = cluster.finals[0].status.failure
    assert (failure.kind, failure.message) == ("CheckpointError", "state/12.arrow: a flipped bit")


def test_what_a_task_left_after_its_part_of_a_checkpoint_is_committed_at_the_end():
    """Its end is heard before that of a task which never saw the barrier: the checkpoint is not the last one."""
    cluster = running()
    cluster.handle(p.CheckpointRequested("one"))
    for task in (("source", 1), ("sink", 0), ("sink", 1)):
        cluster.snapshots[task] = cluster.in_flight
        cluster.handle(p.TaskSnapshotted(task[1], 1, cluster.in_flight, TaskState(*task)))
    for vertex, subtask in (("source", 1), ("sink", 0), ("sink", 1), ("source", 0)):
        cluster.over.add((vertex, subtask))
        status = TaskStatus(vertex=vertex, subtask=subtask)
        cluster.handle(p.TaskFinished(subtask, 1, status, TaskState(vertex, subtask, finished=True)))
    cluster.settle()
    assert cluster.state == JobState.FINISHED
    commits = [c.checkpoint_id for c in cluster.commands if isinstance(c, p.CommitCheckpoint)]
    assert commits == [1, 2]
    assert all(task.finished for task in cluster.manifests[2].tasks)


@pytest.mark.parametrize("how", ["snapshot", "manifest", "timeout"])
@pytest.mark.parametrize("what", ["savepoint", "rescale"])
def test_when_the_checkpoint_that_sources_hold_for_fails_the_job_goes_on(what, how):
    cluster = running(checkpoint_timeout_ms=3_000)
    good = cluster.take_checkpoint()
    cluster.ask(what)
    assert cluster.held
    if how == "snapshot":
        cluster.fail_snapshot(0)
    elif how == "manifest":
        for _ in cluster.tasks:
            cluster.snapshot(0)
        cluster.store(well=False)
    else:
        for _ in range(4):
            cluster.tick(SECOND_US)
    assert cluster.attempts[-1].attempt == 2
    assert cluster.attempts[-1].restored == good
    cluster.settle()
    assert cluster.state == JobState.RUNNING
    assert cluster.attempts[-1].layout.parallelism == 2
    failed = cluster.coordinator.status().checkpoints[1]
    assert failed.state in {"failed", "abandoned"}
    assert failed.request
    cluster.asked = "run"
    cluster.ask("drain")
    assert cluster.state == JobState.STOPPING


def test_a_worker_that_dies_while_sources_hold_does_not_call_off_the_stop():
    cluster = running()
    cluster.ask("savepoint")
    cluster.snapshot(0)
    cluster.lose(0)
    assert [c.request for c in cluster.coordinator.status().checkpoints] == [""]
    cluster.settle()
    assert cluster.state == JobState.STOPPED
    status = cluster.finals[0].status
    assert [(c.request, c.state) for c in status.checkpoints] == [("", "failed"), ("stop", "complete")]


@pytest.mark.parametrize("parallelism", [1, 3, 8])
def test_rescaling_goes_on_from_the_checkpoint_that_sources_hold_for(parallelism):
    cluster = running()
    cluster.take_checkpoint()
    cluster.handle(rescaling(parallelism))
    assert cluster.held
    held = cluster.in_flight
    for _ in cluster.tasks:
        cluster.snapshot(0)
    cluster.store()
    for _ in range(5):
        cluster.tick(SECOND_US)  # another checkpoint would be due
    cluster.settle()
    start = cluster.attempts[-1]
    assert (start.attempt, start.count, start.restored) == (2, parallelism, held)
    assert start.layout == layout(parallelism)
    assert cluster.state == JobState.RUNNING
    assert cluster.coordinator.status().parallelism == parallelism
    assert cluster.coordinator.status().restarts == 0
    assert cluster.take_checkpoint() > held


def test_with_fewer_subtasks_the_figures_of_the_others_are_not_counted_twice():
    cluster = running(parallelism=4)
    cluster.handle(p.CheckpointRequested("one"))
    for vertex, subtask in cluster.tasks:
        cluster.snapshots[vertex, subtask] = cluster.in_flight
        part = TaskState(vertex, subtask, counters={"rows_in": 10 + subtask, "rows_out": 1})
        cluster.handle(p.TaskSnapshotted(subtask, 1, cluster.in_flight, part))
    cluster.settle()
    cluster.handle(rescaling(3))
    counted = {"source": [10 + 13, 11, 12], "sink": [0, 0, 0]}
    for vertex, subtask in cluster.tasks:
        cluster.snapshots[vertex, subtask] = cluster.in_flight
        part = TaskState(vertex, subtask, counters={"rows_in": 10 + subtask, "rows_out": 1})
        cluster.handle(p.TaskSnapshotted(subtask, 1, cluster.in_flight, part))
    cluster.settle()
    status = cluster.coordinator.status()
    assert (status.rows_in, status.rows_out, len(status.tasks)) == (46, 4, 6)
    assert [task.rows_in for task in status.tasks if task.vertex == "source"] == counted["source"]
    for subtask, rows in enumerate(counted["source"]):
        report = TaskStatus(vertex="source", subtask=subtask, rows_in=rows)
        cluster.handle(p.WorkerReport(subtask, 2, (report,)))
    assert cluster.coordinator.status().rows_in == 46


@pytest.mark.parametrize(
    ("what", "state"),
    [("pause", JobState.PAUSED), ("drain", JobState.STOPPING), ("savepoint", JobState.STOPPED)],
)
def test_what_is_asked_for_while_the_job_restarts_holds_afterwards(what, state):
    cluster = running(restart_delay_ms=5_000)
    cluster.take_checkpoint()
    cluster.lose(0)
    cluster.settle()
    cluster.lose(0)
    assert cluster.state == JobState.RESTARTING
    assert not cluster.runs
    cluster.ask(what)
    assert cluster.state == JobState.RESTARTING
    cluster.settle()
    assert cluster.state == state


def test_a_job_is_cancelled_while_it_restarts():
    cluster = running(restart_delay_ms=5_000)
    cluster.lose(0)
    cluster.settle()
    cluster.lose(0)
    cluster.ask("cancel")
    assert cluster.state == JobState.CANCELLED


def test_a_job_that_restarts_keeps_its_figures_and_says_why():
    cluster = running(restart_delay_ms=5_000)
    reports = (TaskStatus(vertex="source", subtask=0, rows_in=70), TaskStatus(vertex="sink", subtask=0, rows_out=7))
    cluster.handle(p.WorkerReport(0, 1, reports))
    cluster.lose(0)
    cluster.settle()
    cluster.handle(p.WorkerReport(0, 2, reports))
    cluster.lose(0)
    status = cluster.coordinator.status()
    assert (status.state, status.restarts, status.last_failure, status.failure) == ("restarting", 2, LOST, None)
    assert (status.rows_in, status.rows_out) == (70, 7)


def test_a_checkpoint_whose_attempt_fails_while_it_is_stored_counts_if_it_is_stored():
    cluster = running()
    cluster.handle(p.CheckpointRequested("one"))
    for _ in cluster.tasks:
        cluster.snapshot(0)
    cluster.lose(0)
    cluster.tick()
    assert len(cluster.attempts) == 1
    cluster.store()
    assert cluster.attempts[-1].restored == 1
    cluster.settle()
    assert cluster.state == JobState.RUNNING


def test_a_status_never_goes_back_behind_the_answer_of_a_store_that_answers_at_once():
    """The shell stores within the command; statuses in the same list of commands must not be older than the answer."""
    cluster = running()
    cluster.handle(p.CheckpointRequested("one"))
    cluster.end_task(0)
    for task in [one for one in cluster.tasks if one not in cluster.over][:-1]:
        cluster.snapshots[task] = cluster.in_flight
        cluster.handle(p.TaskSnapshotted(task[1], 1, cluster.in_flight, TaskState(*task)))
    cluster.over.add(("sink", 1))
    part = TaskState("sink", 1, finished=True)
    event = p.TaskFinished(1, 1, TaskStatus(vertex="sink", subtask=1, rows_out=3), part)
    commands = cluster.coordinator.handle(event, SECOND_US)
    assert kinds(commands) == [p.Publish, p.StoreCheckpoint]


def test_without_a_manifest_the_last_checkpoint_is_tried_again_from_the_one_before():
    cluster = running()
    before = cluster.take_checkpoint()
    for _ in cluster.tasks:
        cluster.end_task(0)
    cluster.store(well=False)
    assert cluster.attempts[-1].restored == before
    cluster.settle()
    cluster.end_all()
    assert cluster.state == JobState.FINISHED


def test_a_job_without_checkpoints_fails_at_once():
    cluster = running(checkpoint_every_ms=None)
    cluster.lose(0)
    assert cluster.state == JobState.FAILED
    assert cluster.finals[0].status.failure == LOST


@given(STEPS)
def test_wishes_survive_the_wire(step):
    cluster = Cluster()
    play(cluster, [step])
    status = cluster.coordinator.status()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(status), type=type(status)) == status
