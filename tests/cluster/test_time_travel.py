"""Savepoints, another parallelism, replays: the same rows, wherever a job goes on from.

A minute of rows comes in real time, so that no job is over before the test has done what it does; where the rest is
wanted, it comes at full speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from patience import eventually
from polars.testing import assert_frame_equal

import streamlab as sl
from streamlab.core.errors import CheckpointError, JobError, OptionError
from streamlab.state.checkpoints.savepoints import find_savepoint

TOTAL = 60_000
NUMBERS = pl.int_range(TOTAL, eager=True)
# Out of order by less than the watermark waits for: whether a row is late never depends on the cuts into batches.
ROWS = pl.DataFrame(
    {"t": (NUMBERS * 1_000 - (NUMBERS % 3) * 200_000).cast(pl.Datetime("us")), "k": NUMBERS % 7, "v": NUMBERS}
)
AGGREGATES = [pl.len().alias("n"), pl.col("v").sum()]


def stream(pace: str = "realtime") -> sl.StreamFrame:
    return sl.from_frame(ROWS, event_time="t", watermark="1s", pace=pace, name="numbers")


def windows(pace: str = "realtime") -> sl.StreamFrame:
    return stream(pace).group_by_dynamic("t", every="1s", group_by="k").agg(AGGREGATES).named("per second")


def groups(pace: str = "realtime") -> sl.StreamFrame:
    return stream(pace).group_by("k").agg(AGGREGATES).named("per key")


@pytest.fixture
def run() -> Iterator[object]:
    jobs: list[sl.Job] = []

    def start(frame: sl.StreamFrame, **options: object) -> sl.Job:
        jobs.append(frame.start(**{"parallelism": 2, "checkpoint_every": "1h", "checkpoint_keep": 9, **options}))
        return jobs[-1]

    yield start
    for job in jobs:
        job.cancel()


def has_read(job: sl.Job, rows: int) -> None:
    eventually(lambda: job.report().rows_in >= rows, f"{rows} rows")


def counted(*jobs: sl.Job) -> tuple[int, int]:
    """Return how many rows went into result tables, and the sum of their numbers."""
    tables = [job.results() for job in jobs]
    assert all(job.late_rows().height == 0 for job in jobs)
    return sum(t["n"].sum() for t in tables), sum(t["v"].sum() for t in tables)


def test_another_parallelism_while_it_runs(run):
    job = run(windows())
    for at, parallelism in enumerate((3, 1, 2), start=1):
        has_read(job, 200 * at)
        job.rescale(parallelism)
        assert job.report().parallelism == parallelism
    assert job.stop(drain=True) == "stopped"
    rows = job.report().rows_in
    assert counted(job) == (rows, sum(range(rows)))
    assert job.results().height == job.results().select("t", "k").n_unique()


def test_a_savepoint_ends_one_job_and_begins_another_of_another_query(run, tmp_path: Path):
    first = run(windows())
    has_read(first, 2_500)
    assert first.stop(savepoint=tmp_path / "saved") == "stopped"
    table = first.results()
    assert 0 < table["n"].sum() < first.report().rows_in
    # The savepoint stands by itself.
    first._handle.folder.path.rename(tmp_path / "gone")
    changed = windows("max").filter(pl.col("n") >= 0).with_columns(more=pl.col("n") * 2)
    second = run(changed, parallelism=3, from_savepoint=tmp_path / "saved")
    assert second.wait(60) == "finished"
    (tmp_path / "gone").rename(first._handle.folder.path)
    assert table["n"].sum() + second.results()["n"].sum() == TOTAL
    assert table["v"].sum() + second.results()["v"].sum() == sum(range(TOTAL))


def test_a_drained_savepoint_leaves_nothing_open(run, tmp_path: Path):
    job = run(windows())
    has_read(job, 2_500)
    assert job.stop(savepoint=tmp_path / "saved", drain=True) == "stopped"
    rows = job.report().rows_in
    assert counted(job) == (rows, sum(range(rows)))
    manifest = find_savepoint(tmp_path / "saved")[1]
    assert all(task.finished for task in manifest.tasks)
    with pytest.raises(JobError, match="to end with a savepoint"):
        job.stop(savepoint=tmp_path / "again", drain=True)
    assert not (tmp_path / "again").exists()


def test_a_savepoint_must_fit(run, tmp_path: Path):
    job = run(groups())
    has_read(job, 10)
    saved = job.savepoint(tmp_path / "saved")
    assert set(saved.state("per key")["part"]) == {"groups"}
    with pytest.raises(OptionError, match="a place without a savepoint"):
        job.savepoint(tmp_path / "saved")
    with pytest.raises(CheckpointError, match="state of 'per key', which the query does not have"):
        run(windows("max"), from_savepoint=tmp_path / "saved")
    other = run(windows("max"), from_savepoint=tmp_path / "saved", allow_non_restored_state=True)
    assert other.wait(60) == "finished"
    assert 0 < counted(other)[0] < TOTAL


@pytest.mark.parametrize(("query", "keys"), [(windows, ["t", "k"]), (groups, ["k"])])
def test_a_replay_gives_what_the_job_gave(run, query, keys):
    job = run(query())
    ids = []
    for rows in (1_200, 2_400, 3_600):
        has_read(job, rows)
        ids.append(job.checkpoint().id)

    to_a_checkpoint = job.replay(ids[0], until=ids[2])
    assert to_a_checkpoint.wait(60) == "stopped"
    assert to_a_checkpoint.compare(job.at(ids[2])).height == 0
    assert job.at(ids[2]).results()["n"].sum() > 0

    to_the_end = job.replay(ids[0])
    assert to_the_end.wait(60) == "finished"
    whole = ROWS.with_columns(pl.col("t").dt.truncate("1s")).group_by(keys).agg(AGGREGATES)
    assert_frame_equal(to_the_end.results(), whole, check_row_order=False, check_column_order=False)
    assert counted(to_the_end) == (TOTAL, sum(range(TOTAL)))


def test_a_replay_with_another_query_shows_what_would_have_been(run):
    job = run(groups())
    has_read(job, 300)
    first = job.checkpoint().id
    has_read(job, 1_000)
    second = job.checkpoint().id
    what_if = stream().filter(pl.col("k") != 3).group_by("k").agg(AGGREGATES).named("per key")
    replay = job.replay(first, until=second, with_=what_if)
    replay.wait(60)
    different = replay.compare(job.at(second))
    assert set(different["k"]) == {3}
    assert different["in"].sort().to_list() == ["here", "there"]


def test_a_live_source_is_replayed_from_its_recording(run):
    job = run(sl.system_metrics("10ms"))
    has_read(job, 5)
    first = job.checkpoint().id
    has_read(job, 20)
    second = job.checkpoint().id
    job.stop()
    replay = job.replay(first, until=second)
    replay.wait(60)
    assert replay.compare(job.at(second)).height == 0
    again = job.replay(first)
    again.wait(60)
    assert again.compare(job).height == 0
    assert job.recording.collect().height == job.results().height


def test_what_cannot_be_done_is_said(run, tmp_path: Path):
    endless = run(sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=1_000))
    has_read(endless, 1)
    taken = endless.checkpoint().id
    with pytest.raises(OptionError, match="a checkpoint to replay to"):
        endless.replay(taken)
    for no_id in (99, -9, "7", None, True):
        for ask in (endless.replay, endless.at, lambda it: endless.replay(taken, until=it)):
            with pytest.raises(OptionError, match="needs the id of a complete checkpoint"):
                ask(no_id)
    with pytest.raises(OptionError, match="with_= to be a stream, got a int"):
        endless.replay(taken, with_=5)
    with pytest.raises(OptionError, match="a job or a moment of one, got a int"):
        endless.compare(5)
    for no_place in ("", 5):
        with pytest.raises(OptionError, match="needs a folder or a URL"):
            endless.savepoint(no_place)
    without = run(stream(), checkpoint_every=None)
    for ask in (without.checkpoint, lambda: without.savepoint(tmp_path / "no"), lambda: without.rescale(3)):
        with pytest.raises(JobError, match="a job that takes checkpoints"):
            ask()


def late_ticks(start: int, n: int) -> pl.DataFrame:
    """Return a row a millisecond of event time, every fifth of them behind by just what decides about lateness."""
    numbers = pl.int_range(start, start + n, eager=True)
    behind = (numbers % 5 == 0).cast(pl.Int64) * (numbers % 40)
    return pl.DataFrame({"t": ((numbers - behind) * 1_000).cast(pl.Datetime("us")), "k": numbers % 3, "v": numbers})


def test_a_replay_judges_lateness_as_the_job_did_although_the_clock_cut_its_batches(run):
    ticks = sl.generate(late_ticks, rows_per_second=2_000, limit=60_000, event_time="t", watermark="0s")
    job = run(ticks.group_by_dynamic("t", every="5ms", group_by="k").agg(AGGREGATES).named("narrow"))
    ids = []
    for rows in (500, 2_500):
        has_read(job, rows)
        ids.append(job.checkpoint().id)
    replay = job.replay(ids[0], until=ids[1])
    assert replay.wait(60) == "stopped"
    then = job.at(ids[1])
    assert replay.compare(then).height == 0
    assert replay.late_rows().height > 0
    assert_frame_equal(replay.late_rows(), then.late_rows(), check_row_order=False)


def counter(start: int, n: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(start, start + n)})


def test_a_savepoint_of_a_live_source_begins_another_job(run, tmp_path: Path):
    ticks = sl.generate(counter, rows_per_second=1_000, replayable=False, name="ticks")
    first = run(ticks)
    has_read(first, 300)
    still_running = first.savepoint(tmp_path / "copy")
    has_read(first, 600)
    assert first.stop(savepoint=tmp_path / "last") == "stopped"
    before = first.results()["n"].sort()
    assert before.to_list() == list(range(len(before)))
    beside = run(ticks, from_savepoint=first.checkpoints[-1])
    has_read(beside, 100)
    beside.stop()
    assert beside.results()["n"].min() == len(before)
    # The savepoint stands by itself.
    first._handle.folder.path.rename(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="start it with checkpoint_every"):
        run(ticks, from_savepoint=tmp_path / "last", checkpoint_every=None)
    second = run(ticks, from_savepoint=tmp_path / "last")
    third = run(ticks, from_savepoint=tmp_path / "copy")
    has_read(second, 200)
    has_read(third, 200)
    second.stop()
    third.stop()
    (tmp_path / "gone").rename(first._handle.folder.path)
    after = second.results()["n"].sort()
    assert after.to_list() == list(range(len(before), len(before) + len(after)))
    begins = third.results()["n"].sort()
    assert begins.to_list() == list(range(begins[0], begins[0] + len(begins)))
    assert 300 <= begins[0] <= len(before)
    assert still_running.sources()["vertex"].to_list() == ["ticks"]
    # It has a recording of its own, which it can be replayed from.
    assert second.recording.collect()["n"].max() >= after[-1]


def test_a_checkpoint_that_is_held_stays_until_it_is_released(run):
    job = run(windows(), checkpoint_keep=1)
    has_read(job, 2_000)
    first = job.checkpoint().id
    with job.hold(first) as moment:
        before = moment.state("per second")
        for _ in range(3):
            has_read(job, job.report().rows_in + 1)
            newest = job.checkpoint()
        assert job.checkpoints.ids == [newest.id]
        assert_frame_equal(moment.state("per second"), before)
        assert moment.results().height < job.results().height or not moment.results().height
    has_read(job, job.report().rows_in + 1)
    job.checkpoint()
    with pytest.raises(CheckpointError):
        moment.state("per second")
    with pytest.raises(OptionError):
        job.hold(first)


def test_the_state_of_a_step_has_one_row_for_each_of_its_keys(run):
    """Whichever subtask has it, and however it came together from batches."""
    job = run(stream().group_by_dynamic("t", every="1m", group_by="k").agg(AGGREGATES).named("per minute"))
    has_read(job, 1_000)
    has_read(job, job.report().rows_in + 1_000)
    moment = job.at(job.checkpoint().id)
    state = moment.state_by_key("per minute")
    assert "subtask" not in state.columns
    assert state.select("k", "window_start").is_duplicated().sum() == 0
    assert moment.state("per minute")["n"].sum() == state["n"].sum()
    with pytest.raises(OptionError):
        moment.state_by_key("gone")
