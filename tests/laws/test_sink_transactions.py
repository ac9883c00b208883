"""Laws of sinks with transactions: whatever is killed when, a reader sees the committed rows, whole and once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_kit import EVERY, SCHEMA, TABLES, PlayedJob, Target, expected, in_order, target

from streamlab.connectors.contracts.sink import SinkContext
from streamlab.core.errors import SinkError

EXAMPLES = {"duckdb": 4, "postgres": 6}
"""How many examples; of sinks that open their target quickly there are more."""
SMALL = st.integers(0, 4)
STEP = st.one_of(
    st.tuples(st.just("write"), SMALL, st.integers(1, 5)),
    st.tuples(st.just("checkpoint"), st.none() | SMALL),
    st.tuples(st.just("abandon")),
    st.tuples(st.just("kill"), st.integers(1, 3), st.none() | SMALL),
    st.tuples(st.just("fail"), st.integers(1, 3)),
)
STEPS = st.lists(STEP, max_size=12)
LONG = st.lists(STEP, max_size=40)
MODES = [(kind, "append") for kind in EVERY] + [(kind, "upsert") for kind in TABLES]
ROWS = pl.DataFrame({"k": [1, 2, 3], "n": [4, 5, 6]}, SCHEMA)
New = Callable[..., Target]


@pytest.fixture
def new(request: pytest.FixtureRequest, tmp_path: Path) -> New:
    """Return what makes a new target of a kind; PostgreSQL starts when the first one needs it."""
    return lambda kind, mode="append", **more: target(
        kind, tmp_path, lambda: request.getfixturevalue("postgres"), mode, **more
    )


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_committed_rows_are_there_once(kind: str, mode: str, new: New, tmp_path_factory) -> None:
    @settings(max_examples=EXAMPLES.get(kind, 15), deadline=None, database=None)
    @given(steps=STEPS)
    def law(steps: list) -> None:
        play(steps, PlayedJob(new(kind, mode), tmp_path_factory.mktemp("jobs") / "job", mode))

    law()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_committed_rows_are_there_once_in_long_lives(kind: str, mode: str, new: New, tmp_path_factory) -> None:
    @settings(max_examples=300, deadline=None, database=None)
    @given(steps=LONG)
    def law(steps: list) -> None:
        play(steps, PlayedJob(new(kind, mode), tmp_path_factory.mktemp("jobs") / "job", mode))

    law()


def play(steps: list, job: PlayedJob) -> None:
    for name, *values in steps:
        if name == "write":
            job.write(*values)
        elif name == "checkpoint":
            job.checkpoint(killed=values[0])
        elif name == "abandon":
            job.checkpoint(complete=False)
        else:
            if name == "fail":
                job.close()
            job.recover(*values)
        job.check()
    job.checkpoint()
    job.close()
    job.check_end()


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_every_step_of_a_commit_can_be_the_last(kind: str, mode: str, new: New, tmp_path: Path) -> None:
    for killed in range(4):
        job = PlayedJob(new(kind, mode), tmp_path / f"job{killed}", mode)
        job.recover(3)
        for subtask in range(3):
            job.write(subtask, 2)
        job.checkpoint(killed=killed)
        job.write(0, 2)
        job.checkpoint()
        job.close()
        job.check_end()


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_a_recovery_can_be_killed_as_well(kind: str, mode: str, new: New, tmp_path: Path) -> None:
    job = PlayedJob(new(kind, mode), tmp_path / "job", mode)
    job.write(0, 8)
    job.checkpoint(killed=0)
    job.recover(2, killed=0)
    job.recover(1, killed=1)
    job.check()
    job.checkpoint()
    job.check_end()


@pytest.mark.parametrize("kind", EVERY)
def test_appending_again_what_is_there_is_refused(kind: str, new: New, tmp_path: Path) -> None:
    job = PlayedJob(new(kind), tmp_path / "job")
    job.write(0, 2)
    job.checkpoint()
    first = job.last
    job.write(0, 2)
    job.checkpoint()
    job.last = first
    with pytest.raises(SinkError, match=r"(?s)checkpoint 2.*checkpoint 1.*twice"):
        job.recover(1)
    job.check()


@pytest.mark.parametrize("kind", EVERY)
def test_beginning_again_is_refused_when_rows_are_there(kind: str, new: New, tmp_path: Path) -> None:
    job = PlayedJob(new(kind), tmp_path / "job")
    beginning = job.last
    job.recover(1)
    job.write(0, 2)
    job.checkpoint()
    job.last = beginning
    with pytest.raises(SinkError, match="from the beginning"):
        job.recover(1)


@pytest.mark.parametrize("kind", TABLES)
def test_upserting_again_what_is_there_changes_nothing_in_the_end(kind: str, new: New, tmp_path: Path) -> None:
    job = PlayedJob(new(kind, "upsert"), tmp_path / "job", "upsert")
    job.write(0, 9)
    job.checkpoint()
    first = job.last
    job.write(0, 8)
    job.checkpoint()
    job.last = first
    job.recover(2)
    job.write(0, 11)
    job.checkpoint()
    assert in_order(job.target.rows()) == in_order(expected(list(range(20)), "upsert"))


@pytest.mark.parametrize("kind", EVERY)
def test_two_jobs_write_to_one_place(kind: str, new: New, tmp_path: Path) -> None:
    place = new(kind)
    jobs = [PlayedJob(place, tmp_path / name / "job") for name in ("here", "there")]
    for job in jobs:
        job.write(0, 3)
        job.checkpoint()
        job.recover(2)
    assert [number for _, number in in_order(place.rows())] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("kind", EVERY)
def test_what_a_failed_attempt_prepared_in_vain_goes(kind: str, new: New, tmp_path: Path) -> None:
    job = PlayedJob(new(kind), tmp_path / "job")
    job.write(0, 4)
    job.checkpoint(complete=False)
    job.recover(1)
    job.write(0, 5)
    job.checkpoint()
    job.check_end()


@pytest.mark.parametrize("kind", EVERY)
def test_leftovers_stay_until_all_have_recovered(kind: str, new: New, tmp_path: Path) -> None:
    """A subtask that is quick may prepare before another has committed what the restored checkpoint has pending."""
    place = new(kind)
    slow = SinkContext(str(tmp_path / "job"), 0, 1, 0, "out", checkpoints=True)
    before = place.sink.open(slow)
    before.write(ROWS)
    pending = before.prepare(1)
    after = place.sink.open(replace(slow, attempt=1, restored=1))
    after.write(ROWS)
    later = after.prepare(2)
    after.commit(pending)
    after.commit(later)
    assert len(place.rows()) == 2 * ROWS.height


@pytest.mark.parametrize("kind", EVERY)
def test_without_checkpoints_rows_come_in_whole_transactions(kind: str, new: New, tmp_path: Path) -> None:
    place = new(kind)
    writer = place.sink.open(SinkContext(str(tmp_path / "job"), 0, 1, 0, "out"))
    writer.write(ROWS.head(2))
    assert place.rows() == []
    writer.write(ROWS.head(2))
    assert len(place.rows()) == 4
    writer.write(ROWS.head(1))
    writer.commit(writer.prepare(0))
    writer.close()
    assert len(place.rows()) == 5
    assert place.sink.guarantee_without_checkpoints == "at-least-once"


@pytest.mark.parametrize("kind", EVERY)
def test_an_aborted_transaction_is_gone(kind: str, new: New, tmp_path: Path) -> None:
    place = new(kind)
    writer = place.sink.open(SinkContext(str(tmp_path / "job"), 0, 1, 0, "out", checkpoints=True))
    writer.write(ROWS)
    pending = writer.prepare(1)
    writer.abort(pending)
    writer.abort(pending)
    with pytest.raises(SinkError, match="is gone"):
        writer.commit(pending)
    assert place.rows() == []
    assert place.hidden() == []


@pytest.mark.parametrize("kind", EVERY)
def test_a_transaction_that_no_sink_made_is_refused(kind: str, new: New, tmp_path: Path) -> None:
    writer = new(kind).sink.open(SinkContext(str(tmp_path / "job"), 0, 1, 0, "out", checkpoints=True))
    writer.write(ROWS)
    for name, value in writer.prepare(1):
        for bad in ((name, f"../{value}"), (f"../{name}", value)):
            with pytest.raises(SinkError, match="prepared"):
                writer.commit((bad,))
