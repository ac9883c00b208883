"""Which checkpoint is being taken, what it lacks, and what is known of the others."""

from __future__ import annotations

import msgspec
import pytest

from streamlab.core.options import JobOptions
from streamlab.runtime.coordinator.checkpoint_tracker import CheckpointTracker
from streamlab.state.checkpoints.manifest import Manifest, TaskState

TASKS = [("source", 0), ("sink", 0)]


def tracker(*args: object, asked_again: str = "", **options: object) -> CheckpointTracker:
    given = {"checkpoint_every_ms": 1_000, "checkpoint_timeout_ms": 5_000, **options}
    return CheckpointTracker(JobOptions("job", **given), *args, asked_again=asked_again)


def manifest(checkpoint_id: int, *tasks: TaskState) -> Manifest:
    return Manifest(
        polars="2",
        job="j",
        id=checkpoint_id,
        attempt=1,
        fingerprint="",
        parallelism={},
        splits={},
        tasks=tasks,
        triggered_us=1_000,
        completed_us=3_000,
    )


def take(one: CheckpointTracker, now_us: int = 5_000) -> int:
    checkpoint_id = one.trigger(0, 1)
    for task in TASKS:
        one.take(checkpoint_id, TaskState(*task))
    assert one.parts(TASKS, {}) is not None
    one.complete(manifest(checkpoint_id), now_us)
    return checkpoint_id


def test_one_is_due_when_the_time_has_passed_since_the_last_one():
    one = tracker()
    one.pass_time(999_000)
    assert not one.is_due
    one.pass_time(1_000)
    assert one.is_due
    one.trigger(0, 1)
    one.pass_time(2_000_000)
    assert not one.is_due
    one.refuse(1, "no room")
    assert not one.is_due
    one.pass_time(1_000_000)
    assert one.is_due


def test_a_request_is_due_at_once_and_answered_once():
    one = tracker()
    for token in ("a", "b", "a"):
        one.request(token)
    assert one.is_due
    assert (one.trigger(0, 1), one.request_in_flight) == (1, "a")
    one.request("a")
    one.abort("its attempt failed")
    assert (one.trigger(0, 1), one.request_in_flight) == (2, "b")
    one.abort("its attempt failed")
    assert not one.is_due
    assert [(c.id, c.request, c.trigger, c.state) for c in one.history] == [
        (1, "a", "request", "failed"),
        (2, "b", "request", "failed"),
    ]


def test_without_checkpoints_none_is_ever_due():
    one = tracker(checkpoint_every_ms=None)
    one.request("a")
    one.pass_time(10**9)
    assert not one.is_due


def test_parts_of_another_checkpoint_do_not_count():
    one = tracker()
    one.refuse(one.trigger(0, 1), "no room")
    current = one.trigger(0, 1)
    for task in TASKS:
        one.take(1, TaskState(*task))
    assert one.parts(TASKS, {}) is None
    assert one.in_flight == current
    one.refuse(1, "again")
    assert one.in_flight == current


def test_an_ended_task_stands_for_itself_unless_it_has_sent_its_part():
    one = tracker()
    one.trigger(0, 1)
    one.take(1, TaskState("sink", 0, counters={"rows_in": 1}))
    ended = {task: TaskState(*task, finished=True) for task in TASKS}
    parts = one.parts(TASKS, ended)
    assert [(part.vertex, part.finished) for part in parts] == [("sink", False), ("source", True)]
    assert one.is_storing
    assert one.parts(TASKS, ended) is None


def test_one_that_takes_too_long_is_abandoned_but_not_while_it_is_stored():
    one = tracker()
    one.trigger(0, 1)
    one.pass_time(5_000_000)
    assert one.in_flight is None
    assert (one.history[0].state, one.history[0].duration_ms) == ("abandoned", 5_000)
    assert "checkpoint_timeout_ms" in one.history[0].reason
    one.trigger(0, 1)
    one.parts([], {})
    one.pass_time(50_000_000)
    assert one.in_flight == 2


def test_only_so_many_are_kept_and_the_rest_is_known_as_deleted():
    one = tracker(checkpoint_keep=2)
    for _ in range(4):
        take(one)
    assert [c.state for c in one.history] == ["deleted", "deleted", "complete", "complete"]
    assert one.newest.id == 4
    one.damaged(4, "a flipped bit")
    assert one.newest.id == 3
    one.damaged(3, "a flipped bit")
    assert one.newest is None
    assert one.history[-1].reason == "a flipped bit"


def test_how_long_it_took_is_counted_to_its_manifest():
    one = tracker()
    one.trigger(1_000, 1)
    one.complete(manifest(1), 8_500)
    assert one.history[0].duration_ms == 7.5


def test_a_clock_that_is_set_back_makes_no_negative_times():
    one = tracker()
    one.trigger(9_000, 1)
    one.complete(manifest(1), 2_000)
    assert one.history[0].duration_ms == 0


def test_the_history_is_bounded():
    one = tracker(checkpoint_keep=1)
    for _ in range(150):
        take(one)
    assert [c.id for c in one.history] == list(range(51, 151))


def test_a_kept_checkpoint_may_be_older_than_the_history():
    one = tracker(checkpoint_keep=1)
    first = take(one)
    for _ in range(150):
        one.refuse(one.trigger(0, 1), "the disk is full")
    assert first not in {status.id for status in one.history}
    one.restore(first)
    second = take(one)
    assert one.newest.id == second
    assert {status.state for status in one.history} == {"failed", "complete"}


def test_a_request_that_will_be_asked_again_is_not_answered_by_a_failed_attempt():
    one = tracker()
    one.request("stop")
    one.trigger(0, 1)
    one.abort("its attempt failed", asked_again="stop")
    assert [(c.request, c.state) for c in one.history] == [("", "failed")]
    one.request("stop")
    assert one.is_due


@pytest.mark.parametrize("asked_again", ["", "b"])
def test_what_an_earlier_coordinator_knew_goes_on(asked_again):
    before = tracker()
    before.request("a")
    take(before)
    take(before)
    before.refuse(before.trigger(0, 1), "no room")
    before.request("b")
    before.trigger(0, 2)
    before.restore(1)
    # Of the two that were complete, one cannot be read any more.
    after = tracker([manifest(1)], before.history, asked_again=asked_again)
    assert [(c.id, c.state, c.request, c.trigger) for c in after.history] == [
        (1, "complete", "a", "request"),
        (2, "damaged", "", "interval"),
        (3, "failed", "", "interval"),
        (4, "failed", "" if asked_again else "b", "request"),
    ]
    assert after.history[0].restored == 1
    assert after.in_flight is None
    assert after.next_id == 5
    assert after.newest.id == 1


def test_an_id_is_never_used_again():
    one = tracker([manifest(7)])
    assert one.next_id == 8
    assert one.history[0].state == "complete"
    assert msgspec.structs.asdict(one.history[0])["duration_ms"] == 2
