"""Recovery, simulated: 360 seeds in which everything may fail, and the result is that of a run without faults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamlab.testing.faults import CLIENT_ENDS, KINDS, Fault, draw_faults
from streamlab.testing.recovery import RecoveryRun, check_recovery, main, recover, shrunk, told
from streamlab.testing.scenarios import SCENARIOS

_SEEDS = 360
_PARTS = 20
_SCENARIOS = len(SCENARIOS)


@pytest.mark.parametrize("part", range(_PARTS))
def test_faults_change_nothing(part: int) -> None:
    for seed in range(part, _SEEDS, _PARTS):
        check_recovery(seed)


def test_every_kind_of_fault_strikes_and_jobs_do_recover() -> None:
    runs = [recover(seed) for seed in range(3 * _SCENARIOS)]
    assert sum(run.attempts > 1 for run in runs) > _SCENARIOS
    assert {fault.kind for seed in range(_SEEDS) for fault in draw_faults(seed)} == {*KINDS, CLIENT_ENDS}


def test_a_job_whose_client_ends_leaves_what_another_one_goes_on_from() -> None:
    runs = [check_recovery(seed, [Fault(40 + seed, CLIENT_ENDS, 0)]) for seed in range(2 * _SCENARIOS)]
    assert len({run.scenario for run in runs if run.went_on}) > _SCENARIOS // 2


@pytest.mark.parametrize("seed", range(12))
def test_one_integer_reproduces_a_run(seed: int) -> None:
    first, second = recover(seed), recover(seed)
    assert first.trace_hash == second.trace_hash
    assert first.story == second.story


def test_other_seeds_are_other_runs() -> None:
    assert len({recover(seed).trace_hash for seed in range(0, 6 * _SCENARIOS, _SCENARIOS)}) == 6


def test_a_fault_changes_nothing_before_it() -> None:
    without, with_it = recover(1, []), recover(1, [Fault(60, "kill_coordinator", 1)])
    before = [line for line in without.story if int(line.split()[1].rstrip(":")) < 60]
    assert before
    assert with_it.story[: len(before)] == tuple(before)
    assert with_it.attempts == without.attempts + 1


def test_the_command_counts_failures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--first", "7"]) == 0
    assert capsys.readouterr().out.startswith("3 seeds, ")


@pytest.mark.slow
def test_many_more_seeds() -> None:
    assert main(["--seeds", "3000", "--first", str(_SEEDS)]) == 0


def test_a_failing_schedule_is_shrunk_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = Fault(120, "kill_worker", 5)
    harmless = (Fault(20, "clock_jump", 1), Fault(40, "clock_jump", 2))

    def failing(seed: int, faults: tuple[Fault, ...]) -> RecoveryRun:
        run = recover(seed, faults)
        found = any(fault.kind == "kill_worker" for fault in faults)
        return replace(run, failure="it was killed" if found else "")

    monkeypatch.setattr("streamlab.testing.recovery.recover", failing)
    smallest = shrunk(failing(1, (*harmless, kill)))
    assert [fault.kind for fault in smallest.faults] == ["kill_worker"]
    story = told(smallest).splitlines()
    assert story[0].startswith("seed 1 (groups)")
    assert story[-1] == "→ it was killed"
