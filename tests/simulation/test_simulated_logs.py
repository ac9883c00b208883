"""Files that grow, simulated: lines at any step, rotation by names and copies, deletions, and everything may fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamlab.connectors.files.growing_files import GrowingFiles, GrowingFinder
from streamlab.connectors.files.growing_reader import GrowingReader
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


def copies_are_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GrowingFiles, "is_copy", lambda *_: False)


def texts_are_not_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GrowingFinder, "_begun_anew", lambda _: ())


def positions_forget_what_was_before(patch: pytest.MonkeyPatch) -> None:
    position = GrowingReader._position.fget
    patch.setattr(GrowingReader, "_position", property(lambda self: position(self)[:5]))


def half_lines_are_whole(patch: pytest.MonkeyPatch) -> None:
    whole = GrowingReader._whole_records
    patch.setattr(GrowingReader, "_whole_records", lambda *given, ends, **more: whole(*given, ends=True, **more))


def numbers_are_files(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GrowingReader, "_was_emptied", lambda *_: False)


@pytest.mark.parametrize(
    "plant",
    [copies_are_read, texts_are_not_told, positions_forget_what_was_before, half_lines_are_whole, numbers_are_files],
)
def test_planted_bugs_are_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert any(recover(seed, None, LOGS).failure for seed in range(_SEEDS))
