"""A job whose client ends: it takes a last checkpoint when that is quick, and is gone soon in any case."""

from __future__ import annotations

import pytest
from checkpointing_cluster import SECOND_US, Cluster
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.observe.status import JobState
from streamlab.runtime.coordinator.coordinator import LAST_CHECKPOINT_US
from streamlab.runtime.messages import protocol as p


def running(**options: object) -> Cluster:
    cluster = Cluster(**options)
    cluster.settle()
    assert cluster.state == JobState.RUNNING
    return cluster


def end(cluster: Cluster) -> None:
    cluster.asked = "savepoint"  # the cluster's word for "sources hold, and nothing drains"
    cluster.handle(p.EndRequested("the kernel has ended"))


def test_the_last_checkpoint_is_taken_and_committed():
    cluster = running()
    cluster.take_checkpoint()
    end(cluster)
    assert cluster.held
    assert cluster.state == JobState.STOPPING
    last = cluster.in_flight
    cluster.settle()
    assert cluster.state == JobState.CANCELLED
    assert cluster.usable[-1] == last
    assert cluster.commands[-3:-2] == [p.CommitCheckpoint(last)]
    taken = cluster.finals[0].status.checkpoints[-1]
    assert (taken.id, taken.state, taken.trigger) == (last, "complete", "end")
    assert p.StopSources not in [type(command) for command in cluster.commands]


def test_being_told_twice_ends_it_no_sooner():
    cluster = running()
    end(cluster)
    end(cluster)
    assert cluster.state == JobState.STOPPING
    cluster.settle()
    assert cluster.state == JobState.CANCELLED
    assert cluster.usable == [1]


def test_one_that_is_being_taken_is_completed_first():
    cluster = running()
    cluster.handle(p.CheckpointRequested("one"))
    end(cluster)
    assert not cluster.held
    cluster.settle()
    assert cluster.state == JobState.CANCELLED
    assert [(c.id, c.trigger) for c in cluster.finals[0].status.checkpoints] == [(1, "request"), (2, "end")]


def test_a_paused_job_takes_one_too():
    cluster = running()
    cluster.ask("pause")
    end(cluster)
    cluster.settle()
    assert cluster.state == JobState.CANCELLED
    assert cluster.usable == [1]


@pytest.mark.parametrize("stuck_at", ["snapshot", "manifest", "commit"])
def test_what_takes_too_long_is_not_waited_for(stuck_at):
    cluster = running()
    before = cluster.take_checkpoint()
    end(cluster)
    if stuck_at != "snapshot":
        for _ in cluster.tasks:
            cluster.snapshot(0)
    if stuck_at == "commit":
        cluster.store()
    for _ in range(LAST_CHECKPOINT_US // SECOND_US - 1):
        cluster.tick(SECOND_US)
    assert not cluster.finals
    cluster.tick(SECOND_US)
    assert cluster.state == JobState.CANCELLED
    assert cluster.finals[0].status.failure is None
    assert before in cluster.usable


@pytest.mark.parametrize("how", ["lose", "fail", "fail_snapshot"])
def test_a_failure_meanwhile_ends_it_at_once(how):
    cluster = running()
    end(cluster)
    getattr(cluster, how)(0)
    assert cluster.state == JobState.CANCELLED
    assert cluster.finals[0].status.failure is None
    assert len(cluster.attempts) == 1


def test_a_manifest_that_cannot_be_stored_ends_it_at_once():
    cluster = running()
    end(cluster)
    for _ in cluster.tasks:
        cluster.snapshot(0)
    cluster.store(well=False)
    assert cluster.state == JobState.CANCELLED


@pytest.mark.parametrize("state", ["starting", "restarting", "without checkpoints"])
def test_where_there_is_nothing_to_save_it_ends_at_once(state):
    cluster = Cluster(**({"checkpoint_every_ms": None} if state == "without checkpoints" else {}))
    if state != "starting":
        cluster.settle()
    if state == "restarting":
        cluster.lose(0)
        cluster.settle()
        cluster.lose(0)
        assert cluster.state == JobState.RESTARTING
    end(cluster)
    assert cluster.state == JobState.CANCELLED


def test_a_job_at_its_end_may_finish():
    cluster = running()
    for _ in range(2):
        cluster.end_task(0)
    end(cluster)
    cluster.asked = "run"
    cluster.end_all()
    assert cluster.state == JobState.FINISHED


@pytest.mark.parametrize(("before", "state"), [("savepoint", JobState.STOPPED), ("rescale", JobState.CANCELLED)])
def test_what_was_being_done_is_done_or_given_up(before, state):
    cluster = running()
    cluster.ask(before)
    asked = cluster.asked
    end(cluster)
    cluster.asked = "savepoint" if asked == "run" else asked
    cluster.settle()
    assert cluster.state == state
    assert len(cluster.attempts) == 1


ACTIONS = st.tuples(
    st.sampled_from(("start_worker", "snapshot", "commit", "end_task", "lose", "fail", "fail_snapshot", "store")),
    st.integers(0, 5),
)


def play(cluster: Cluster, actions: list[tuple[str, int]]) -> None:
    for name, choice in actions:
        if name == "store":
            cluster.store()
        elif not cluster.finals:
            getattr(cluster, name)(choice)


@settings(max_examples=100)
@given(st.lists(ACTIONS, max_size=30), st.lists(ACTIONS, max_size=30))
def test_whatever_happens_it_is_gone_in_time(before, after):
    cluster = Cluster()
    play(cluster, before)
    if cluster.finals:
        return
    attempts = len(cluster.attempts)
    end(cluster)
    cluster.asked = "cancel"
    play(cluster, after)
    for _ in range(LAST_CHECKPOINT_US // SECOND_US):
        if not cluster.finals:
            cluster.tick(SECOND_US)
    assert cluster.state in {JobState.CANCELLED, JobState.FINISHED}
    assert len(cluster.attempts) == attempts
