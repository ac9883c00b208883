"""Attempts on record, and which rows they withdraw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamlab.runtime.job_folder.attempts import Attempt, is_void, read_attempts, record_attempt, same_keys_since
from streamlab.runtime.messages.protocol import Layout, VertexLayout


def attempt(number: int, restored: int = 0, parallelism: int = 2) -> Attempt:
    vertex = VertexLayout("source", ("source",), parallelism, is_source=True, is_sink=False)
    return Attempt(number, restored, Layout(parallelism, (vertex,), f"graph-{parallelism}"))


def test_attempts_are_read_as_they_were_recorded(tmp_path):
    assert read_attempts(tmp_path) == ()
    attempts = (attempt(1), attempt(2, 5), attempt(3, 5, 4))
    for one in attempts:
        record_attempt(tmp_path, one)
    assert read_attempts(tmp_path) == attempts
    assert [path.name for path in tmp_path.iterdir()] == ["attempts.json"]


def test_an_attempt_that_is_recorded_again_replaces_what_was_said_of_it(tmp_path):
    for one in (attempt(1), attempt(2, 5), attempt(2, 4)):
        record_attempt(tmp_path, one)
    assert read_attempts(tmp_path) == (attempt(1), attempt(2, 4))


def test_what_a_killed_process_left_beside_the_record_does_no_harm(tmp_path):
    record_attempt(tmp_path, attempt(1))
    (tmp_path / ".attempts.json.1").write_bytes(b"[{")
    assert read_attempts(tmp_path) == (attempt(1),)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=6), st.data())
def test_rows_stand_until_a_later_attempt_starts_from_before_them(history, data):
    """Against a job that is played through: rows and the checkpoint that they follow, in a list."""
    attempts, rows, checkpoint = [attempt(1)], [], 0
    for checkpoints, back in history:
        number, epoch = attempts[-1].number, attempts[-1].restored
        rows.append((number, epoch))
        for _ in range(checkpoints):
            checkpoint += 1
            rows.append((number, checkpoint))
        restored = max(0, checkpoint - back)
        attempts.append(attempt(number + 1, restored))
        standing = [(n, e) for n, e in rows if not is_void(n, e, attempts)]
        rows = [(n, e) for n, e in rows if e < restored]
        assert standing == rows


@given(st.lists(st.integers(1, 3), max_size=8))
def test_keys_have_not_moved_since_the_last_change_of_parallelism(parallelisms):
    attempts = [attempt(number, 0, one) for number, one in enumerate(parallelisms, start=1)]
    since = same_keys_since(attempts)
    assert len({one.layout.parallelism for one in attempts if one.number >= since}) <= 1
    before = [one for one in attempts if one.number < since]
    assert not before or before[-1].layout.parallelism != attempts[-1].layout.parallelism
