"""Steps by hand, simulated: whatever the schedule, the same steps leave the same rows, and nothing is under way."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pytest

import streamlab as sl
from streamlab.observe.status import JobState, StepStatus
from streamlab.runtime.messages.protocol import ResumeRequested, StepRequested
from streamlab.testing.scenarios import SCENARIOS, Outcome, Scenario
from streamlab.testing.simulated_cluster import Cluster
from streamlab.testing.sources import Shelf

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
_LATER = 40


@dataclass(frozen=True)
class Seen:
    """What is there after a step."""

    step: StepStatus
    outcome: Outcome

    def same_as(self, other: Seen) -> bool:
        mine, theirs = self.outcome, other.outcome
        tables = zip((mine.rows, mine.late_rows), (theirs.rows, theirs.late_rows), strict=True)
        return self.step == other.step and all(in_order(a).equals(in_order(b)) for a, b in tables)


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(pl.all()) if frame.width else frame


def start(scenario: Scenario, seed: int, parallelism: int, batch_rows: int = 3) -> Cluster:
    # What appears meanwhile would be up to the seed.
    shelf = Shelf(dict(scenario.appearing))
    cluster = Cluster(scenario, seed, shelf=shelf, parallelism=parallelism, batch_rows=batch_rows, paused=True)
    cluster.start()
    return cluster


def step(cluster: Cluster, number: int, goal: str = "batches", amount: int = 1, rows: int | None = None) -> Seen:
    """Take one step; then let other things happen, which must not change what there is."""
    cluster.steps, token = 0, f"step {number}"
    cluster.take(StepRequested(token, goal, amount, rows))
    while cluster.final is None and (cluster.status.step.request, cluster.status.step.state) == (token, "running"):
        cluster.step()
    taken = (cluster.final or cluster.status).step
    outcome = cluster.outcome()[0]
    for _ in range(_LATER):
        if cluster.final is None:
            cluster.step()
    seen = Seen(taken, outcome)
    assert taken.request == token
    assert seen.same_as(Seen(taken, cluster.outcome()[0])), "something was still under way"
    assert not cluster.ledger.complaints
    return seen


def to_the_end(cluster: Cluster, goal: str = "batches", amount: int = 1, rows: int | None = None) -> list[Seen]:
    seen: list[Seen] = []
    while cluster.final is None:
        seen.append(step(cluster, len(seen), goal, amount, rows))
        assert seen[-1].step.state == "done", seen[-1].step
        assert len(seen) < 400
    assert cluster.final.state is JobState.FINISHED
    assert seen[-1].step.ended
    return seen


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_step_does_not_depend_on_the_schedule(name: str) -> None:
    runs = [to_the_end(start(BY_NAME[name], seed, parallelism=2), rows=6) for seed in (1, 2)]
    for one, other in zip(*runs, strict=True):
        assert one.same_as(other)


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"first", "late"}))
def test_stepping_to_the_end_is_running_through(name: str) -> None:
    cluster = start(BY_NAME[name], 5, parallelism=3)
    to_the_end(cluster)
    for outcome in cluster.outcome():
        cluster.scenario.check(cluster.scenario, outcome)


@pytest.mark.parametrize("name", ["windows", "late", "plain"])
def test_steps_of_so_many_rows_read_the_same_whatever_the_parallelism(name: str) -> None:
    alone, shared = (to_the_end(start(BY_NAME[name], 3, parallelism), rows=2) for parallelism in (1, 3))
    assert [seen.step.read for seen in alone] == [seen.step.read for seen in shared]
    assert [seen.step.watermark_us for seen in alone[4:]] == [seen.step.watermark_us for seen in shared[4:]]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_query_that_has_enough_ends_in_the_step_that_gave_it(parallelism: int) -> None:
    seen = to_the_end(start(BY_NAME["first"], 3, parallelism), rows=4)
    assert [sum(part.rows for part in one.step.read) for one in seen] == [4, 4, 4]
    assert [one.outcome.rows.height for one in seen] == [4, 8, 11]


def test_until_the_watermark_has_risen() -> None:
    for seen in to_the_end(start(BY_NAME["late"], 4, 2), "watermark", rows=1):
        assert seen.step.watermark_us > seen.step.watermark_before_us


def test_it_runs_on_by_itself_from_anywhere() -> None:
    cluster = start(BY_NAME["windows"], 6, 2)
    for number in range(5):
        step(cluster, number, rows=3)
    cluster.take(ResumeRequested())
    while cluster.final is None:
        cluster.step()
    assert cluster.final.clock_us is None
    for outcome in cluster.outcome():
        cluster.scenario.check(cluster.scenario, outcome)


def test_a_watermark_raised_by_hand_closes_windows_and_makes_rows_late() -> None:
    cluster = start(BY_NAME["windows"], 7, 2)
    before = step(cluster, 0, rows=4)
    assert before.outcome.rows.height == 0
    start_us = 1_704_067_200_000_000
    raised = step(cluster, 1, "event_time", start_us + 30_000_000)
    assert raised.step.batches == 0
    assert raised.step.watermark_us == start_us + 30_000_000
    assert raised.outcome.rows.height > 0
    again = step(cluster, 2, "event_time", start_us + 30_000_000)
    assert again.step.state == "failed"
    assert "never falls" in again.step.reason
    rest = [step(cluster, 3 + number, rows=10) for number in range(7)]
    assert sum(seen.step.late_rows for seen in rest) == rest[-1].outcome.late_rows.height > 0


def test_a_worker_that_dies_in_a_step_fails_the_step_and_the_next_one_goes_on_from_the_checkpoint() -> None:
    cluster = start(BY_NAME["groups"], 8, 2)
    step(cluster, 0, rows=5)
    cluster.take(StepRequested("lost", "batches", 9))
    cluster.kill(cluster.workers[0])
    while cluster.status.step.state == "running":
        cluster.step()
    assert cluster.status.step.state == "failed"
    assert "had to start again" in cluster.status.step.reason
    to_the_end(cluster)
    for outcome in cluster.outcome():
        cluster.scenario.check(cluster.scenario, outcome)


def of_nothing() -> sl.StreamFrame:
    empty = pl.DataFrame(schema={"at": pl.Datetime("us"), "n": pl.Int64})
    return sl.concat([sl.from_frame(empty, event_time="at", watermark="0s", name=name) for name in ("one", "two")])


@pytest.mark.parametrize("rows", [None, 1])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_sources_that_end_when_they_are_found_to_have_nothing_end_the_job(parallelism: int, rows: int | None) -> None:
    def check(_: Scenario, outcome: Outcome) -> None:
        assert outcome.rows.height == 0

    cluster = start(Scenario("of nothing", of_nothing, check), 3, parallelism)
    assert to_the_end(cluster, rows=rows)[-1].step.ended
