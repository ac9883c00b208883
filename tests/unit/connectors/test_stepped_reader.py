"""The reader by hand: what a step gives depends on the positions alone."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.contracts.timing import timing
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.connectors.sources.frames import from_frame
from streamlab.connectors.sources.generate import generate
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import Batch, End, Message, Watermark
from streamlab.testing.sources import SplitFrames

SECOND_US = 1_000_000


def rows(*seconds: int, first: int = 0) -> pl.DataFrame:
    times = pl.Series([second * SECOND_US for second in seconds], dtype=pl.Int64).cast(pl.Datetime("us"))
    return pl.DataFrame({"at": times, "n": pl.int_range(first, first + len(seconds), eager=True)})


def splits(*frames: Sequence[int], knows_times: bool = True) -> SplitFrames:
    parts = tuple(rows(*seconds, first=100 * number) for number, seconds in enumerate(frames))
    return SplitFrames("splits", parts[0].schema, parts, knows_times, timing=timing("at", "2s"))


def reader(source: Source, snapshot: ReaderSnapshot | None = None, *, subtask: int = 0, of: int = 1) -> SteppedReader:
    return SteppedReader(source, source.splits(), subtask, of, snapshot)


def numbers(messages: Sequence[Message]) -> list[int]:
    return [n for message in messages if isinstance(message, Batch) for n in message.frame.lazy().collect()["n"]]


def watermarks(messages: Sequence[Message]) -> list[int]:
    return [message.us for message in messages if isinstance(message, Watermark)]


def to_the_end(one: SteppedReader, size: int | None) -> list[int]:
    given: list[int] = []
    while not one.is_over:
        given += numbers(one.step(0, size))
    return given


def test_rows_come_from_the_split_with_the_lowest_watermark_and_the_end_by_itself():
    one = reader(splits([0, 4, 9], [1, 2, 3], knows_times=False))
    taken = [numbers(one.step(0, 1)) for _ in range(6)]
    assert taken == [[0], [100], [1], [101], [102], [2]]
    assert one.stepped == {"0": 1}
    assert one.is_over
    assert one.next_order is None
    assert one.step(0, 1) == []
    assert one.stop(0) == [Watermark(MAX_TIME_US), End()]
    assert one.step(0) == []


def test_the_last_rows_still_say_what_time_it_is():
    one = reader(splits([0, 9]))
    assert watermarks(one.step(0, 1)) == [-2 * SECOND_US - 1]
    assert watermarks(one.step(0, 1)) == [7 * SECOND_US - 1]
    assert one.made_watermark_us == 7 * SECOND_US - 1


def test_a_step_takes_as_many_rows_as_it_is_told_of_one_split():
    one = reader(splits([0, 1, 2, 3, 4], [9]))
    assert [numbers(one.step(0, 2)) for _ in range(4)] == [[0, 1], [2, 3], [4], [100]]


frames = st.lists(st.lists(st.integers(-20, 20), min_size=1, max_size=6), min_size=1, max_size=4)
sizes = st.integers(1, 4)


@given(frames, sizes, st.booleans())
def test_whatever_the_steps_all_rows_come_once_and_those_of_a_split_in_order(parts, size, knows_times):
    given_rows = to_the_end(reader(splits(*parts, knows_times=knows_times)), size)
    assert sorted(given_rows) == [100 * number + at for number, part in enumerate(parts) for at in range(len(part))]
    for number in range(len(parts)):
        own = [n for n in given_rows if n // 100 == number]
        assert own == sorted(own)


@given(frames, sizes, st.integers(0, 8))
def test_another_reader_goes_on_from_anywhere(parts, size, steps):
    source = splits(*parts)
    one = reader(source)
    before = [n for _ in range(steps) for n in numbers(one.step(0, size))]
    other = reader(source, one.snapshot())
    assert before + to_the_end(other, size) == to_the_end(reader(source), size)


@given(frames, sizes)
def test_several_readers_that_take_turns_read_what_one_reads(parts, size):
    source = splits(*parts)
    several = [reader(source, subtask=subtask, of=3) for subtask in range(3)]
    given_rows: list[int] = []
    while any(one.next_order is not None for one in several):
        nearest = min((one for one in several if one.next_order is not None), key=lambda one: one.next_order)
        given_rows += numbers(nearest.step(0, size))
    assert given_rows == to_the_end(reader(source), size)


@given(frames)
def test_full_steps_are_polls(parts):
    by_hand, by_itself = reader(splits(*parts)), reader(splits(*parts))
    given_rows = [n for _ in range(3) for n in numbers(by_itself.poll(0))]
    assert to_the_end(by_hand, None) == given_rows


def test_what_was_read_ahead_is_not_given_when_the_stream_is_stopped():
    source = SplitFrames("splits", rows(0).schema, (rows(*range(9)),), timing=timing("at", "2s"))
    one = reader(source)
    one._ahead.fill(0)
    assert numbers(one.step(0, 2)) == [0, 1]
    position = one.snapshot().splits["0"]
    assert (position.position, position.skip, position.rows) == (0, 2, 2)
    assert one.stop(0) == [Watermark(MAX_TIME_US), End()]


def test_a_step_that_finds_nothing_says_when_there_will_be_something():
    def counted(start: int, n: int) -> pl.DataFrame:
        return pl.select(pl.int_range(start, start + n).alias("n"))

    one = reader(generate(counted, rows_per_second=100))
    assert numbers(one.step(0, 50)) == [0]
    for n in (1, 2):
        now_us = (n - 1) * 10_000
        assert one.step(now_us, 50) == []
        assert one.wakeup_us(now_us) == n * 10_000
        assert numbers(one.step(n * 10_000, 50)) == [n]


def test_positions_bound_what_is_read():
    source = splits([0, 1, 2], [0, 1, 2], knows_times=False)
    ahead = reader(source)
    for _ in range(3):
        ahead.step(0, 1)
    behind = reader(source)
    behind.read_to(ahead.snapshot())
    given_rows = [n for _ in range(9) for n in numbers(behind.step(0, 1))]
    assert sorted(given_rows) == [0, 1, 100]
    assert behind.next_order is None
    assert not behind.is_over
    assert not behind.reached
    behind.read_to(None)
    assert sorted(given_rows + to_the_end(behind, 1)) == [0, 1, 2, 100, 101, 102]


def test_a_pace_is_not_waited_for_and_begins_anew_afterwards():
    node = from_frame(rows(0, 10, 20, 30), event_time="at", watermark="0s", pace=1)
    one = reader(node)
    assert [numbers(one.step(0, 1)) for _ in range(2)] == [[0], [1]]
    now_us = 1_000 * SECOND_US
    assert numbers(one.poll(now_us)) == []
    assert numbers(one.poll(now_us + 9 * SECOND_US)) == []
    assert numbers(one.poll(now_us + 10 * SECOND_US)) == [2]


def test_a_watermark_raised_by_hand_never_falls_and_does_not_change_the_order():
    one = reader(splits([0, 5], [1, 2]))
    one.step(0, 1)
    order = one.next_order
    assert one.advance_watermark(60 * SECOND_US) == [Watermark(60 * SECOND_US)]
    assert one.advance_watermark(30 * SECOND_US) == []
    assert one.next_order == order
    assert watermarks([message for _ in range(3) for message in one.step(0, 1)]) == []
    assert reader(splits([0, 5]), one.snapshot()).made_watermark_us == 60 * SECOND_US


def test_without_a_watermark_there_is_none_to_raise():
    one = reader(from_frame(rows(0, 1)))
    assert one.made_watermark_us is None
    assert one.advance_watermark(5) == []


def test_another_readers_step_lets_this_one_say_what_it_knows():
    one = reader(splits([3, 4]))
    assert one.look() == [Watermark(3 * SECOND_US - 1)]
    assert one.look() == []
    assert reader(splits([3, 4], knows_times=False)).look() == []
    assert reader(splits([3, 4], knows_times=False)).made_watermark_us == MIN_TIME_US


def test_dead_letters_count_as_read_but_not_as_rows():
    source = from_frame(rows(0, 1).with_columns(at=None).cast({"at": pl.Datetime("us")}), event_time="at")
    one = reader(source)
    one.step(0, 1)
    assert (one.rows_read, one.stepped) == (2, {})


def test_latencies_are_not_measured_by_hand():
    (batch,) = (message for message in reader(splits([0])).step(5, 1) if isinstance(message, Batch))
    assert batch.ingested_us is None
    assert_frame_equal(batch.frame, rows(0))


@pytest.mark.parametrize("size", [1, 2, None])
def test_cuts_of_the_user_are_kept(size):
    one = reader(from_frame([rows(0, 1, 2), rows(3)], event_time="at", watermark="0s"))
    first = numbers(one.step(0, size))
    assert first == [0, 1, 2][:size]
