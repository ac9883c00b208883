"""Another pace at any moment, simulated: with workers and coordinators that die, the result is that of one run."""

from __future__ import annotations

import random

import pytest

from streamlab.observe.status import JobState
from streamlab.runtime.messages.protocol import PaceRequested, PauseRequested, ResumeRequested
from streamlab.testing.scenarios import SCENARIOS
from streamlab.testing.simulated_cluster import Cluster

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
_PACES = ("2000x", "7000x", "100000x", "max")
"""Fast, since a simulated second takes a thousand things that happen."""
_DEATHS = 3


def run_with_changes(name: str, seed: int) -> Cluster:
    cluster = Cluster(BY_NAME[name], seed)
    chance = random.Random(seed)
    cluster.start()
    deaths = 0
    while cluster.final is None and not cluster.ledger.complaints:
        happens = chance.random()
        if happens < 0.03:
            cluster.take(PaceRequested(chance.choice(_PACES)))
        elif happens < 0.04:
            cluster.take(PauseRequested())
            cluster.take(ResumeRequested())
        elif happens < 0.05 and cluster.workers and deaths < _DEATHS:
            deaths += 1
            if deaths % 2:
                cluster.kill(chance.choice(cluster.workers))
            else:
                cluster.replace_coordinator()
        if cluster.final is None:
            cluster.step()
    return cluster


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"first"}))
@pytest.mark.parametrize("seed", range(3))
def test_a_change_of_pace_changes_nothing_that_is_computed(name: str, seed: int) -> None:
    cluster = run_with_changes(name, seed)
    assert not cluster.ledger.complaints
    assert cluster.final.state is JobState.FINISHED
    for outcome in cluster.outcome():
        cluster.scenario.check(cluster.scenario, outcome)


def test_the_same_seed_is_the_same_run() -> None:
    one, other = (run_with_changes("windows", 1) for _ in range(2))
    assert one.trace_hash == other.trace_hash
    assert any("SetPace" in line for line in one.story)
    assert len(one.attempts) > 1


@pytest.mark.parametrize("dies", ["a worker", "the coordinator"])
def test_another_attempt_runs_at_the_pace_that_was_set(dies: str) -> None:
    cluster = Cluster(BY_NAME["plain"], 3, parallelism=2, checkpoint_every_ms=1_000_000)
    cluster.start()
    cluster.take(PaceRequested("0.001x"))
    while not any(runner.task.counters.rows_in for worker in cluster.workers for runner in worker.runners):
        cluster.step()
    assert cluster.status.pace == "0.001x"
    if dies == "a worker":
        cluster.kill(cluster.workers[0])
    else:
        cluster.replace_coordinator()
    for _ in range(2000):
        cluster.step()
    assert len(cluster.attempts) == 2
    assert cluster.final is None
    assert (cluster.status.pace, cluster.status.pace_set) == ("0.001x", True)
    rows = sum(runner.task.counters.rows_in for worker in cluster.workers for runner in worker.runners)
    assert rows < 60
    cluster.take(PaceRequested("max"))
    while cluster.final is None:
        cluster.step()
    for outcome in cluster.outcome():
        cluster.scenario.check(cluster.scenario, outcome)
