"""Files that grow, simulated: lines at any step, rotation by names and copies, deletions, and everything may fail."""

from __future__ import annotations

import pytest

from streamlab.testing.recovery import check_recovery, main, recover
from streamlab.testing.scenarios import LOGS

_SEEDS = 120
_PARTS = 12


@pytest.mark.parametrize("part", range(_PARTS))
def test_each_line_comes_once_whatever_happens_to_files_and_processes(part: int) -> None:
    for seed in range(part, _SEEDS, _PARTS):
        check_recovery(seed, None, LOGS)


def test_everything_happens_that_is_meant_to() -> None:
    runs = [recover(seed, None, LOGS) for seed in range(24)]
    told = "\n".join(line for run in runs for line in run.story)
    for what in ("write some", "begin line", "rename", "copy and empty", "delete", "is killed", "from checkpoint"):
        assert what in told
    assert any(run.went_on for run in runs)
    assert sum(run.attempts > 1 for run in runs) > len(runs) // 3


@pytest.mark.slow
def test_many_more_seeds() -> None:
    assert main(["--logs", "--seeds", "1000", "--first", str(_SEEDS)]) == 0
