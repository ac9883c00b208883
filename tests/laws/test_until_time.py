"""A reader that reads up to an event time gives what it would give anyway, and ends with that time's watermark."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.connectors.contracts.source import Source, Timing
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.replays.batch_log import CutLog, CutTrail
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.core.event_time.time import MAX_TIME_US, Duration
from streamlab.core.messages import Batch, End, Message, Watermark
from streamlab.testing.sources import SplitFrames

SECOND_US = 1_000_000
SCHEMA = pl.Schema({"t": pl.Datetime("us"), "n": pl.Int64})

times = st.lists(st.integers(-5, 25), min_size=1, max_size=12)
splits = st.lists(times, min_size=1, max_size=4)
goals = st.integers(-10, 30)
sizes = st.integers(1, 5)
paces = st.sampled_from([None, 2.0])


def source(seconds: Sequence[Sequence[int]], pace: float | None = None, *, knows_times: bool = True) -> SplitFrames:
    tables = tuple(
        pl.DataFrame({"t": pl.Series(ts, dtype=pl.Int64) * SECOND_US, "n": range(len(ts))}, schema_overrides=SCHEMA)
        for ts in seconds
    )
    return SplitFrames("splits", SCHEMA, tables, knows_times, timing=Timing("t", Duration.parse("2s"), None, pace))


def reader_of(given: Source, snapshot: ReaderSnapshot | None = None, **options: object) -> SteppedReader:
    return SteppedReader(given, given.splits(), 0, 1, snapshot, **{"batch_ms": 0, **options})


def told(message: Message) -> object:
    return message.collected().rows() if isinstance(message, Batch) else message


def polled(reader: SteppedReader, most: int = 400, at: int = 0) -> list[object]:
    """Return what a reader gives up to its end, or up to where it waits for ever."""
    out: list[object] = []
    for now in range(at, at + most):
        out += map(told, reader.poll(now * SECOND_US))
        if reader.reached or (out and out[-1] == End()):
            break
    return out


def up_to(messages: list[object], us: int) -> list[object]:
    """Return the messages up to the first watermark that has reached a time; all when that is the end."""
    at = next(at for at, said in enumerate(messages) if isinstance(said, Watermark) and said.us >= us)
    return messages if messages[at] == Watermark(MAX_TIME_US) else messages[: at + 1]


@settings(max_examples=50, deadline=None)
@given(splits, goals, sizes, paces, st.booleans())
def test_messages_are_those_up_to_the_first_watermark_that_is_there(seconds, goal, size, pace, knows_times):
    given, until_us = source(seconds, pace, knows_times=knows_times), goal * SECOND_US
    whole = polled(reader_of(given, batch_rows=size))
    reader = reader_of(given, batch_rows=size, until_us=until_us)
    part = polled(reader)
    assert part == up_to(whole, until_us)
    assert reader.reached == (part[-1] != End())
    if reader.reached:
        rows = reader.rows_read
        assert polled(reader, most=3, at=10_000) == []
        assert reader.step(0) == reader.step(0, 2) == []
        reader.read_to(None)
        assert (reader.next_order, reader.reached, reader.rows_read) == (None, True, rows)
        assert [told(message) for message in reader.stop(0)] == [Watermark(MAX_TIME_US), End()]


@settings(max_examples=40, deadline=None)
@given(splits, goals, sizes, sizes, st.integers(0, 12))
def test_it_ends_where_the_batches_of_another_reader_say_whatever_its_own_are(seconds, goal, size, other, restart):
    given, until_us = source(seconds), goal * SECOND_US
    with tempfile.TemporaryDirectory() as folder:
        log = CutLog(Path(folder), 1, 0, parallelism=1, paced=False)
        first = reader_of(given, batch_rows=size, cuts=log)
        wanted = up_to(polled(first), until_us)

        def trail(*, resumes: bool) -> CutTrail:
            return CutTrail([Path(folder)], 0, parallelism=1, resumes=resumes)

        again = reader_of(given, batch_rows=other, until_us=until_us, trail=trail(resumes=False))
        got = polled(again, most=restart)
        # A restart of the replay, at any place: also where it had read to the end of what it is to read.
        there = reader_of(given, again.snapshot(), batch_rows=other, until_us=until_us, trail=trail(resumes=True))
        if not (got and got[-1] == End()):
            got += polled(there)
        assert got == wanted


@settings(max_examples=40, deadline=None)
@given(splits, goals, st.lists(sizes, min_size=1, max_size=5))
def test_by_hand_nothing_comes_behind_the_step_that_led_there(seconds, goal, rows):
    until_us = goal * SECOND_US
    free, bound = reader_of(source(seconds)), reader_of(source(seconds), until_us=until_us)
    step = 0
    while bound.next_order is not None:
        size = rows[step % len(rows)]
        assert [told(m) for m in bound.step(0, size)] == [told(m) for m in free.step(0, size)]
        step += 1
        made = bound.made_watermark_us
        assert (bound.next_order is None) == (bound.is_over or (made is not None and made >= until_us))
    assert bound.reached != bound.is_over


def test_a_watermark_raised_by_hand_counts():
    reader = reader_of(source([[0, 1, 2, 30]]), until_us=20 * SECOND_US)
    reader.step(0, 1)
    assert not reader.reached
    assert reader.advance_watermark(20 * SECOND_US) == [Watermark(20 * SECOND_US)]
    assert reader.reached
    assert reader.next_order is None


def test_a_reader_that_had_got_there_says_so_and_halts_wherever_it_is_told_to():
    given = source([[0, 9, 30], [1, 10, 30]])
    before = reader_of(given, until_us=5 * SECOND_US, batch_rows=1)
    polled(before)
    # Other readers of the source were behind: what was merged with theirs says too little.
    merged = replace(before.snapshot(), watermark_us=-5 * SECOND_US)
    reader = reader_of(given, merged, until_us=5 * SECOND_US, batch_rows=1)
    assert reader.reached
    assert reader.poll(0) == [Watermark(7 * SECOND_US - 1)]
    assert reader.poll(1) == []
    reader.halt(3)
    assert reader.halted_at is not None
