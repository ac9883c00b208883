"""A replay gives what was given: the same batches, watermarks and idleness, whatever its own clock says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.contracts.timing import timing
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.reading.replays.batch_log import Cut, CutLog, CutTrail
from streamlab.connectors.reading.replays.checkpoint_notes import keep_sections
from streamlab.connectors.recording.recorded import recorded
from streamlab.connectors.recording.recording import scan_recording
from streamlab.connectors.sources.generate import generate
from streamlab.core.event_time.row_watermarks import unmarked
from streamlab.core.messages import Batch, Message, Watermark
from streamlab.testing.sources import SplitFrames

SCHEMA = pl.Schema({"t": pl.Datetime("us"), "n": pl.Int64})
SECOND_US = 1_000_000
Clock = list[int]
"""How much time passes before each poll, µs."""

clocks = st.lists(st.sampled_from([0, 500, 3_000, 20_000, 400_000, 2 * SECOND_US]), min_size=5, max_size=40)
times = st.lists(st.integers(-5, 20), max_size=15)


def frames(*splits: list[int], pace: float | None, idle: bool) -> SplitFrames:
    tables = tuple(
        pl.DataFrame(
            {"t": pl.Series(ts, dtype=pl.Int64) * SECOND_US, "n": pl.Series(range(len(ts)), dtype=pl.Int64)}
        ).cast({"t": pl.Datetime("us")})
        for ts in splits
    )
    said = timing("t", watermark="2s", idle_timeout="1s" if idle else None, pace=pace or "max")
    return SplitFrames("frames", SCHEMA, tables, timing=said)


def told(message: Message) -> object:
    """Return a message so that it can be compared; when rows came in is no part of it."""
    return (unmarked(message.collected()).rows(), message.tag) if isinstance(message, Batch) else message


def polled(reader: SourceReader, clock: Clock, barriers: dict[int, int] | None = None) -> tuple[list[object], dict]:
    """Return what a reader gives, and its snapshots with how much it had given by then, by the barrier's number."""
    now, out, snapshots = 0, [], {}
    for at, passes in enumerate(clock):
        now += passes
        out += [told(message) for message in reader.poll(now)]
        if barriers and at in barriers:
            snapshots[barriers[at]] = reader.snapshot(), len(out)
            reader.passed(barriers[at])
    return out, snapshots


def reader_of(source: Source, snapshot: ReaderSnapshot | None = None, **given: object) -> SourceReader:
    return SourceReader(source, list(source.splits()), snapshot=snapshot, batch_rows=4, batch_ms=1, **given)


def check_followed(
    folder: Path, source: Source, again: Source, clock: Clock, other: Clock, barriers: list[int], paced: bool
) -> None:
    numbered = {at % len(clock): number for number, at in enumerate(sorted({b % len(clock) for b in barriers}), 1)}
    log = CutLog(folder, 1, 0, parallelism=1, paced=paced)
    out, snapshots = polled(reader_of(source, cuts=log), clock, numbered)
    log.close()
    for number, (snapshot, before) in {0: (None, 0), **snapshots}.items():
        trail = CutTrail([folder], number, parallelism=1)
        follower = reader_of(again, snapshot, trail=trail)
        found, _ = polled(follower, [*other, *[2 * SECOND_US] * (3 * len(clock))])
        assert found[: len(out) - before] == out[before:]


@settings(max_examples=60, deadline=None)
@given(times, times, clocks, clocks, st.lists(st.integers(0, 60), max_size=3), st.booleans(), st.booleans())
def test_the_same_messages_from_every_barrier(one, other, clock, replay_clock, barriers, paced, idle):
    with tempfile.TemporaryDirectory() as folder:
        source = frames(one, other, pace=1.0 if paced else None, idle=idle)
        for again in (source.at_pace(None), source.at_pace(3.0)):
            check_followed(Path(folder), source, again, clock, replay_clock, barriers, paced)


def test_a_watermark_that_is_known_before_any_row_is_said_before_it_again(tmp_path):
    source = frames([0, 1, 2], [20, 21, 22], pace=1.0, idle=False)
    splits, log = list(source.splits()), CutLog(tmp_path, 1, 0, parallelism=2, paced=True)
    out, _ = polled(SourceReader(source, splits, 1, 2, cuts=log, batch_ms=1), [SECOND_US] * 25)
    log.close()
    trail = CutTrail([tmp_path], 0, parallelism=2)
    found, _ = polled(SourceReader(source.at_pace(None), splits, 1, 2, trail=trail, batch_ms=1), [SECOND_US] * 25)
    assert out[0] == Watermark(20 * SECOND_US - 1)
    assert found == out


def numbers(start: int, n: int) -> pl.DataFrame:
    late = [at - 5 if at % 7 == 0 else at for at in range(start, start + n)]
    return pl.DataFrame({"t": late, "n": range(start, start + n)}).with_columns(pl.from_epoch("t", "s"))


@settings(max_examples=15, deadline=None)
@given(clocks, clocks, st.lists(st.integers(0, 60), max_size=3), st.sampled_from([1.0, 30.0, 2000.0]))
def test_a_rate_that_the_clock_governs(clock, replay_clock, barriers, rate):
    with tempfile.TemporaryDirectory() as folder:
        source = generate(numbers, rows_per_second=rate, limit=400, event_time="t", watermark="1s")
        check_followed(Path(folder), source, source.at_pace(None), clock, replay_clock, barriers, paced=False)


def test_a_row_at_the_bound_is_judged_as_it_was(tmp_path):
    source = generate(numbers, rows_per_second=1, limit=20, event_time="t", watermark="0s")
    log = CutLog(tmp_path, 1, 0, parallelism=1, paced=False)
    out, _ = polled(reader_of(source, cuts=log), [SECOND_US] * 30)
    watermarks = [one for one in out if not isinstance(one, tuple)]
    assert len(watermarks) > 10
    alone, _ = polled(reader_of(source.at_pace(None)), [SECOND_US] * 30)
    assert [one for one in alone if not isinstance(one, tuple)] != watermarks
    followed, _ = polled(reader_of(source.at_pace(None), trail=CutTrail([tmp_path], 0, parallelism=1)), [0] * 200)
    assert followed == out


def test_the_attempt_that_counts_is_followed(tmp_path):
    source = generate(numbers, rows_per_second=3, limit=60, event_time="t", watermark="0s")
    first = CutLog(tmp_path, 1, 0, parallelism=1, paced=False)
    reader = reader_of(source, cuts=first)
    before, snapshots = polled(reader, [SECOND_US] * 8, {3: 1})
    snapshot, given_out = snapshots[1]
    second = CutLog(tmp_path, 2, 1, parallelism=1, paced=False)
    after, _ = polled(reader_of(source, snapshot, cuts=second), [300_000] * 200)
    for since, start, expected in ((0, None, before[:given_out] + after), (1, snapshot, after)):
        trail = CutTrail([tmp_path], since, parallelism=1)
        followed, _ = polled(reader_of(source.at_pace(None), start, trail=trail), [0] * 300)
        assert followed == expected


def test_a_replay_that_was_restored_goes_on_where_it_was(tmp_path):
    source = generate(numbers, rows_per_second=3, limit=60, event_time="t", watermark="0s")
    log = CutLog(tmp_path, 1, 0, parallelism=1, paced=False)
    out, _ = polled(reader_of(source, cuts=log), [SECOND_US] * 30, {3: 1, 9: 2})
    again = source.at_pace(None)
    _, snapshots = polled(reader_of(again, trail=CutTrail([tmp_path], 0, parallelism=1)), [0] * 12, {6: 7})
    snapshot, given_out = snapshots[7]
    trail = CutTrail([tmp_path], 0, parallelism=1, resumes=True)
    rest, _ = polled(reader_of(again, snapshot, trail=trail), [0] * 300)
    assert rest == out[given_out:]


@pytest.mark.parametrize("damage", ["missing", "torn", "other parallelism", "empty"])
def test_without_notes_the_rows_are_the_same(tmp_path, damage):
    source = generate(numbers, rows_per_second=3, limit=60, event_time="t", watermark="0s")
    log = CutLog(tmp_path, 1, 0, parallelism=2 if damage == "other parallelism" else 1, paced=False)
    out, _ = polled(reader_of(source, cuts=log), [SECOND_US] * 30)
    (path,) = tmp_path.iterdir()
    if damage == "missing":
        path.unlink()
    elif damage in {"torn", "empty"}:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -3])
    trail = CutTrail([tmp_path], 0, parallelism=1)
    followed, _ = polled(reader_of(source.at_pace(None), trail=trail), [SECOND_US] * 100)

    def rows(messages: list[object]) -> list[object]:
        return [row for message in messages if isinstance(message, tuple) for row in message[0]]

    assert rows(followed) == rows(out)
    assert followed[-1] == out[-1]


def test_notes_go_with_their_checkpoints(tmp_path):
    log = CutLog(tmp_path, 1, 0, parallelism=1, paced=False)
    for number in range(1, 6):
        log.note(Cut((("s", number),)))
        log.passed(number)
    log.forget_before(4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000004-000001.cuts", "000005-000001.cuts"]
    assert CutTrail([tmp_path], 4, parallelism=1).next(lambda _: 0) == Cut((("s", 5),))
    assert CutTrail([tmp_path], 3, parallelism=1).next(lambda _: 0) is None
    log.close()


def test_a_disk_that_takes_no_notes_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    log = CutLog(tmp_path / "file", 1, 0, parallelism=1, paced=False)
    log.note(Cut((("s", 1),)))
    log.passed(1)
    log.close()


def test_rows_that_cannot_come_again_are_recorded_first(tmp_path):
    made = iter(range(10_000))

    def by_chance(start: int, n: int) -> pl.DataFrame:
        return pl.DataFrame({"n": range(start, start + n), "chance": [next(made) for _ in range(n)]})

    source = generate(by_chance, limit=30, replayable=False)
    assert not source.replayable
    first, _ = polled(reader_of(recorded(source, str(tmp_path))), [20_000] * 40)
    again = scan_recording(tmp_path)
    rows = [row for message in first if isinstance(message, tuple) for row in message[0]]
    assert [n for n, _ in rows] == list(range(30))
    second, _ = polled(reader_of(again), [20_000] * 40)
    assert second == first


@pytest.mark.parametrize("at", [0, 4, 5, 40, 200])
def test_what_is_damaged_is_cut_anew(tmp_path, at):
    source = generate(numbers, rows_per_second=3, limit=60, event_time="t", watermark="0s")
    log = CutLog(tmp_path, 1, 0, parallelism=1, paced=False)
    polled(reader_of(source, cuts=log), [SECOND_US] * 30)
    log.close()
    (path,) = tmp_path.iterdir()
    noted = bytearray(path.read_bytes())
    noted[at : at + 8] = b"\xc1" * 8
    path.write_bytes(noted)
    trail = CutTrail([tmp_path], 0, parallelism=1)
    found, _ = polled(reader_of(source.at_pace(None), trail=trail), [SECOND_US] * 300)
    rows = [row for one in found if isinstance(one, tuple) for row in one[0]]
    assert len(rows) == 60


def test_a_replay_keeps_notes_that_the_job_forgets(tmp_path):
    source = generate(numbers, rows_per_second=3, limit=60, event_time="t", watermark="0s")
    job, replay = tmp_path / "job", tmp_path / "replay"
    log = CutLog(job / "source" / "0", 1, 0, parallelism=1, paced=False)
    keep_sections(job, replay, 0)
    out, _ = polled(reader_of(source, cuts=log), [SECOND_US] * 30)
    log.passed(1)
    log.forget_before(1)
    log.close()
    folders = [place / "source" / "0" for place in (replay, job)]
    trail = CutTrail(folders, 0, parallelism=1)
    followed, _ = polled(reader_of(source.at_pace(None), trail=trail), [0] * 200)
    assert followed == out
