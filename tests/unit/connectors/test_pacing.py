"""Another pace while a source is read: event time goes on from where it stands, and the rows are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from reading import Run

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.contracts.timing import timing
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.reading.replays.batch_log import CutLog, CutTrail
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.connectors.sources.frames import from_frame
from streamlab.connectors.sources.generate import generate
from streamlab.core.messages import Batch, End
from streamlab.testing.sources import SplitFrames

SECOND_US = 1_000_000


def at(seconds: Sequence[float], first: int = 0) -> pl.DataFrame:
    times = pl.Series([int(second * SECOND_US) for second in seconds], dtype=pl.Int64).cast(pl.Datetime("us"))
    return pl.DataFrame({"at": times, "n": pl.int_range(first, first + len(seconds), eager=True)})


def every_second(seconds: int, pace: Any = "max") -> Source:
    return from_frame(at(range(seconds)), event_time="at", watermark="0s", pace=pace)


def splits(*parts: Sequence[float], pace: Any = "max") -> SplitFrames:
    frames = tuple(at(part, 1000 * number) for number, part in enumerate(parts))
    return SplitFrames("splits", frames[0].schema, frames, timing=timing("at", "2s", pace=pace))


class Paced(Run):
    """A run that says how many rows have come by a moment."""

    def by(self, second: float) -> int:
        """Poll every tenth of a second up to a moment."""
        while self.now_us < round(second * SECOND_US):
            self.poll(self.now_us + SECOND_US // 10)
        return self.rows.height

    def set_pace(self, factor: float | None) -> None:
        """Change it, and read at once, as a worker does."""
        self.reader.set_pace(factor)
        if not self.has_ended:
            self.poll()

    @property
    def has_ended(self) -> bool:
        return any(isinstance(message, End) for message in self.messages)


def started(source: Source, **options: Any) -> Paced:
    run = Paced(source, batch_ms=0, **options)
    run.poll(0)
    return run


def test_slower_and_faster_from_where_event_time_stands() -> None:
    run = started(every_second(600, pace="10x"))
    assert run.by(10) == 101
    run.set_pace(1.0)
    assert [run.by(second) for second in (10.1, 11, 15, 20)] == [101, 102, 106, 111]
    run.set_pace(20.0)
    assert [run.by(second) for second in (20.1, 21, 22)] == [113, 131, 151]


def test_the_time_that_is_waited_for_the_next_row_counts() -> None:
    run = started(from_frame(at([0, 100, 200]), event_time="at", watermark="0s", pace="realtime"), batch_rows=10)
    assert run.by(50) == 1
    run.set_pace(10.0)
    # Half of the way is done: the other half takes 5 s.
    assert [run.by(second) for second in (54.9, 55, 64.9, 65)] == [1, 2, 2, 3]


def test_from_full_speed_to_a_pace_and_back() -> None:
    run = started(every_second(1000), batch_rows=100)
    given = run.rows.height
    assert 0 < given < 1000
    run.set_pace(10.0)
    # What is there at once is the row at which event time stands; from there on it is ten rows a second.
    assert run.rows.height == given + 1
    assert [run.by(second) - given for second in (1, 2, 4)] == [11, 21, 41]
    run.set_pace(None)
    run.to_end()
    assert run.now_us < 6 * SECOND_US
    assert run.rows.get_column("n").to_list() == list(range(1000))


def test_what_was_held_up_is_not_made_up_for() -> None:
    run = started(every_second(1000, pace="10x"))
    assert run.by(2) == 21
    # Nobody polls for a minute, because those that take the rows are slow.
    run.now_us = 62 * SECOND_US
    run.set_pace(5.0)
    assert run.by(62.1) == 22
    assert run.by(64.1) == 32


def test_a_pause_stops_the_clock_of_event_time() -> None:
    run = started(every_second(1000, pace="10x"))
    assert run.by(2) == 21
    run.reader.pause(run.now_us)
    run.now_us = 1000 * SECOND_US
    assert [run.by(second) for second in (1000.1, 1001.1)] == [21, 31]


def test_a_split_that_lies_back_catches_up_at_the_new_pace() -> None:
    run = started(splits(range(100), range(50, 150)), batch_rows=30)
    run.set_pace(1.0)
    run.poll(0)
    ahead = run.rows.get_column("at").dt.epoch("s").max()
    run.by(5)
    assert run.rows.get_column("at").dt.epoch("s").max() <= max(ahead, 30 + 6)


@pytest.mark.parametrize("begins", ["first", "late"])
def test_a_pace_that_is_set_before_the_first_row(begins: str) -> None:
    run = Paced(every_second(100), batch_ms=0)
    run.reader.set_pace(10.0)
    run.poll(0 if begins == "first" else 10 * SECOND_US)
    assert run.rows.height == 1
    assert run.by(run.now_us / SECOND_US + 2) == 21


def test_steps_by_hand_go_on_at_the_new_pace_afterwards() -> None:
    source = every_second(100, pace="realtime")
    reader = SteppedReader(source, source.splits(), batch_ms=0)
    reader.poll(0)
    reader.set_pace(10.0)
    reader.step(0, 5)
    given = [m.collected().height for ms in (0, 100, 200, 300) for m in reader.poll(ms * 1000) if isinstance(m, Batch)]
    assert given == [1, 1, 1]


def test_rows_per_second_change_too_and_nothing_is_made_up_for() -> None:
    rows = generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=10, limit=10_000)
    assert rows.pace_name == "10 rows/s"
    run = started(rows)
    assert run.by(1) == 11
    run.set_pace(5.0)
    assert run.by(2) - 11 == 51
    run.reader.set_pace(None)
    run.set_pace(1.0)
    before = run.rows.height
    assert run.by(4) - before == 20


def test_rows_per_second_do_not_make_up_for_a_pause() -> None:
    run = started(
        generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=10, limit=10_000)
    )
    assert run.by(1) == 11
    run.reader.pause(run.now_us)
    run.now_us = 100 * SECOND_US
    run.poll()
    assert run.rows.height == 12
    assert run.by(101) == 22


def test_live_sources_keep_their_pace() -> None:
    live = generate(
        lambda start, n: at(range(start, start + n), start), event_time="at", watermark="0s", limit=50, replayable=False
    )
    assert live.pace_name == ""
    run = started(live, batch_rows=10)
    run.set_pace(1.0)
    assert run.to_end().rows.height == 50


changes = st.lists(
    st.tuples(
        st.sampled_from([0, 700, 30_000, 400_000, 3 * SECOND_US]), st.sampled_from([None, None, 0.5, 1.0, 7.0, 60.0, 0])
    ),
    max_size=40,
)
parts = st.lists(st.lists(st.integers(0, 60), max_size=20).map(sorted), min_size=1, max_size=3)


@given(parts=parts, changes=changes, first=st.sampled_from(["max", 1.0, 20.0]), batch_rows=st.integers(1, 9))
def test_whatever_the_pace_the_rows_are_the_same(parts: Any, changes: Any, first: Any, batch_rows: int) -> None:
    run = Paced(splits(*parts, pace=first), batch_rows=batch_rows, batch_ms=3)
    for passes, pace in changes:
        if pace == 0:
            run.reader.pause(run.now_us)
        elif pace is not None:
            run.set_pace(pace)
        if not run.has_ended:
            run.poll(run.now_us + passes)
    run.set_pace(None)
    if not run.has_ended:
        run.to_end()
    whole = Run(splits(*parts), batch_rows=1000).to_end()
    for number in range(len(parts)):
        mine, theirs = (
            one.rows.filter(pl.col("n").is_between(1000 * number, 1000 * number + 999)) for one in (run, whole)
        )
        assert_frame_equal(mine, theirs)


@given(changes=changes, at_row=st.integers(0, 30))
def test_no_change_makes_event_time_jump_or_fall_back(changes: Any, at_row: int) -> None:
    """Event time never goes faster than the fastest pace that was set, however often it changes."""
    run = Paced(every_second(5000, pace=1.0), batch_ms=0)
    run.poll(0)
    passed, fastest, pace = 0.0, 0.0, 1.0
    for passes, wish in changes:
        if wish:
            pace = wish
            run.set_pace(wish)
        fastest += passes * max(pace, wish or 0) / SECOND_US
        passed += passes
        run.poll(int(passed))
        reached = run.rows.height - 1
        assert reached <= fastest + 1e-6


def test_a_replay_follows_what_was_cut_at_several_paces(tmp_path: Any) -> None:
    source = splits(range(40), range(3, 43))
    log = CutLog(tmp_path, 1, 0, parallelism=1, paced=False)
    first = SourceReader(source, source.splits(), batch_rows=4, batch_ms=0, cuts=log)
    told: list[Any] = []

    def poll(reader: SourceReader, us: int) -> list[Any]:
        return [m.collected().rows() if isinstance(m, Batch) else m for m in reader.poll(us)]

    now = 0
    for pace, polls in ((None, 3), (5.0, 30), (None, 2), (2.0, 10), (None, 200)):
        first.set_pace(pace)
        for _ in range(polls):
            now += 100_000
            told += poll(first, now)
    again = SourceReader(
        source, source.splits(), batch_rows=4, batch_ms=0, trail=CutTrail([tmp_path], 0, parallelism=1)
    )
    replayed = [message for tick in range(400) for message in poll(again, tick * 10_000)]
    assert replayed == told
