"""Notes of turns are read as they were written, across checkpoints and attempts, and as far as they are whole."""

from __future__ import annotations

import pytest

from streamlab.core.messages import Batch, End, Idle, Watermark
from streamlab.runtime.worker.input_order_log import Turn, TurnLog, TurnTrail

MESSAGES = [(0, Batch), (1, Watermark(5)), (1, Idle()), (0, Watermark(-7)), (0, End())]


def turns() -> list[Turn]:
    return [Turn(b"B", 0, 0) if message is Batch else Turn.of(at, message) for at, message in MESSAGES]


def log_of(folder, attempt=1, since=0, inputs=2):
    return TurnLog(folder, attempt, since, inputs=inputs, parallelism=3)


def trail_of(folder, since=0, inputs=2, skip=0, parallelism=3):
    return TurnTrail([folder], since, inputs=inputs, parallelism=parallelism, skip=skip)


def all_of(trail: TurnTrail) -> list[Turn]:
    found = []
    while (turn := trail.next()) is not None:
        assert trail.next() == turn
        found.append(turn)
        trail.advance()
    return found


def noted(folder, *, sections=(2, 1, 2)) -> None:
    log, left, ids = log_of(folder), turns(), iter((4, 5, 9))
    for count in sections:
        for turn in left[:count]:
            log.note(turn)
        left = left[count:]
        log.passed(next(ids))
    log.close()


def test_turns_are_read_across_checkpoints(tmp_path):
    assert all_of(trail_of(tmp_path)) == []
    noted(tmp_path)
    trail = trail_of(tmp_path)
    assert all_of(trail) == turns()
    assert trail.followed == len(turns())
    assert all_of(trail_of(tmp_path, since=4)) == turns()[2:]
    assert all_of(trail_of(tmp_path, since=5)) == turns()[3:]
    assert all_of(trail_of(tmp_path, since=6)) == []


@pytest.mark.parametrize("skip", range(7))
def test_a_trail_goes_on_after_what_was_followed(tmp_path, skip):
    noted(tmp_path)
    assert all_of(trail_of(tmp_path, skip=skip)) == turns()[skip:]


def test_the_last_attempt_counts(tmp_path):
    noted(tmp_path)
    later = log_of(tmp_path, attempt=2, since=4)
    later.note(Turn(b"I", 1, 0))
    later.close()
    assert all_of(trail_of(tmp_path)) == [*turns()[:2], Turn(b"I", 1, 0)]


def test_other_inputs_or_subtasks_end_the_trail(tmp_path):
    noted(tmp_path)
    assert all_of(trail_of(tmp_path, inputs=3)) == []
    assert all_of(trail_of(tmp_path, parallelism=2)) == []


def test_what_no_checkpoint_needs_is_forgotten(tmp_path):
    noted(tmp_path)
    log = log_of(tmp_path, since=9)
    log.forget_before(5)
    log.close()
    assert sorted(path.name[:6] for path in tmp_path.iterdir()) == ["000005", "000009"]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_what_is_torn_or_damaged_ends_the_trail(tmp_path, cut):
    noted(tmp_path, sections=(5,))
    path = tmp_path / "000000-000001.turns"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    found = all_of(trail_of(tmp_path))
    assert found == turns()[: len(found)]
    path.write_bytes(whole[:cut] + b"\xff" * 20 + whole[cut + 20 :])
    found = all_of(trail_of(tmp_path))
    assert all(turn.input < 2 for turn in found)
