"""Another parallelism whatever dies meanwhile: a wish that was accepted is carried out, another one refused at once."""

from __future__ import annotations

import pytest
from checkpointing_cluster import SECOND_US, Cluster, layout, rescaling
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.observe.status import JobState, JobStatus
from streamlab.runtime.coordinator.attempt_state import Takeover
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.messages import protocol as p


def running(**options: object) -> Cluster:
    cluster = Cluster(**options)
    cluster.settle()
    assert cluster.state == JobState.RUNNING
    return cluster


def refusals(cluster: Cluster) -> list[str]:
    return [command.reason for command in cluster.commands if isinstance(command, p.Refuse)]


def take_over(cluster: Cluster) -> None:
    """Let the coordinator die, and another one go on from what is on record."""
    status = cluster.coordinator.status()
    attempts = cluster.attempts
    wished = [layout(n) for n in (1, 2, 3, 4, 8) if layout(n).graph == status.rescale]
    assert bool(wished) == bool(status.rescale)
    takeover = Takeover(
        attempts[-1].attempt,
        attempts[-1].layout,
        tuple(cluster.manifests[one] for one in cluster.usable),
        status,
        wished[0] if wished else None,
    )
    successor = Coordinator("j-1", cluster.options, cluster.first_layout, submitted_us=0, takeover=takeover)
    cluster.coordinator, cluster.storing = successor, None
    cluster.ended.add(attempts[-1].attempt)
    cluster.carry_out(successor.start(cluster.now_us))


STEPS = ("nothing", "snapshot", "all snapshots", "stored", "committed")


def go_on_until(cluster: Cluster, step: str) -> None:
    if step in STEPS[1:]:
        cluster.snapshot(0)
    if step in STEPS[2:]:
        for _ in cluster.tasks:
            cluster.snapshot(0)
    if step in STEPS[3:]:
        cluster.store()
    if step in STEPS[4:]:
        for _ in range(cluster.attempts[-1].count):
            cluster.commit(0)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("who", ["coordinator", "worker"])
def test_a_rescale_is_carried_out_although_a_process_dies(who, step):
    cluster = running()
    cluster.take_checkpoint()
    cluster.handle(rescaling(4))
    assert cluster.coordinator.status().rescale == layout(4).graph
    go_on_until(cluster, step)
    if who == "coordinator":
        take_over(cluster)
    else:
        cluster.lose(0)
    cluster.settle()
    assert cluster.state == JobState.RUNNING
    assert cluster.attempts[-1].layout == layout(4)
    assert cluster.coordinator.status().rescale == ""
    assert not cluster.held
    cluster.end_all()
    assert cluster.state == JobState.FINISHED


def test_a_rescale_before_the_first_checkpoint_survives_too():
    cluster = running()
    cluster.handle(rescaling(1))
    take_over(cluster)
    cluster.settle()
    assert (cluster.attempts[-1].layout, cluster.attempts[-1].restored) == (layout(1), 0)


def test_a_wish_stays_on_record_until_the_attempt_is():
    """A coordinator may die between any two commands: whoever reads the record finds the wish, or the attempt."""
    cluster = running()
    cluster.handle(rescaling(3))
    go_on_until(cluster, "stored")
    said = len(cluster.commands)
    for _ in range(2):
        cluster.commit(0)
    for command in cluster.commands[said:]:
        if isinstance(command, p.StartWorkers):
            break
        assert not isinstance(command, p.Publish) or command.status.rescale == layout(3).graph
    assert cluster.attempts[-1].layout == layout(3)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("rescale", "one that is being rescaled to 3"),
        ("savepoint", "one that is stopping"),
        ("drain", "one that is stopping"),
        ("end", "one that is ending"),
    ],
)
def test_a_rescale_that_comes_at_the_wrong_time_is_refused_at_once(before, reason):
    cluster = running()
    if before == "end":
        cluster.handle(p.EndRequested())
    else:
        cluster.ask(before)
    cluster.handle(rescaling(4))
    assert refusals(cluster) == [reason]


def test_a_job_without_checkpoints_refuses():
    cluster = running(checkpoint_every_ms=None)
    cluster.handle(rescaling(4))
    assert refusals(cluster) == ["one that takes no checkpoints"]


def test_asked_again_because_the_answer_was_lost_it_is_not_done_twice():
    cluster = running()
    cluster.handle(rescaling(4))
    cluster.handle(rescaling(4))
    cluster.settle()
    assert cluster.attempts[-1].layout == layout(4)
    attempts = len(cluster.attempts)
    cluster.handle(rescaling(4))
    for _ in range(3):
        cluster.tick(SECOND_US)
    cluster.settle()
    assert len(cluster.attempts) == attempts
    assert refusals(cluster) == []


ACTIONS = st.one_of(
    st.tuples(st.sampled_from(("start_worker", "snapshot", "snapshot", "store", "commit", "lose")), st.integers(0, 5)),
    st.tuples(st.just("rescale"), st.sampled_from((1, 2, 3, 4, 8))),
    st.tuples(st.just("take_over"), st.just(0)),
)


@settings(max_examples=100)
@given(st.lists(ACTIONS, max_size=60))
def test_the_last_rescale_that_was_accepted_is_what_runs(actions):
    cluster = running()
    expected = layout(2)
    for name, choice in actions:
        if name == "rescale":
            refused = len(refusals(cluster))
            cluster.handle(rescaling(choice))
            if len(refusals(cluster)) == refused:
                expected = layout(choice)
        elif name == "take_over":
            take_over(cluster)
        elif name == "store":
            cluster.store()
        else:
            getattr(cluster, name)(choice)
    cluster.settle()
    assert cluster.state == JobState.RUNNING
    assert cluster.attempts[-1].layout == expected
    assert cluster.coordinator.status().rescale == ""


@pytest.mark.parametrize("step", ["waiting", *STEPS])
def test_a_checkpoint_that_was_asked_for_is_taken_by_the_next_coordinator(step):
    cluster = running()
    if step == "waiting":
        # One is being taken already, so this one is not even begun.
        cluster.handle(p.CheckpointRequested("first"))
    cluster.handle(p.CheckpointRequested("mine"))
    assert "mine" in cluster.coordinator.status().requests
    go_on_until(cluster, step)
    if step in {"waiting", *STEPS[:3]}:
        assert "mine" in published(cluster).requests
    take_over(cluster)
    cluster.settle()
    for _ in range(3):
        answers = [one.state for one in cluster.coordinator.status().checkpoints if one.request == "mine"]
        if answers != ["complete"]:
            cluster.take_checkpoint()
    assert answers == ["complete"]
    assert cluster.coordinator.status().requests == ()


def published(cluster: Cluster) -> JobStatus:
    return next(command.status for command in reversed(cluster.commands) if isinstance(command, p.Publish))


def test_a_stop_before_anything_runs_is_on_record():
    cluster = Cluster()
    cluster.handle(p.StopRequested("last"))
    assert (published(cluster).wish, published(cluster).savepoint) == ("stop", "last")
