"""Generated rows that several subtasks share: each once, none late, at one rate, whatever the parallelism becomes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from source_kit import in_stripes

from streamlab.connectors.reading.progress import ReaderSnapshot, merge_snapshots
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.connectors.sources.generate import GenerateSource, Stripes, generate
from streamlab.core.event_time.time import MIN_TIME_US, time_us
from streamlab.core.messages import Batch, End, Watermark

LIMIT = 150
BEGIN = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - naive, as most data are
EXAMPLES = settings(max_examples=40, deadline=None)
SUBTASKS = st.integers(1, 4)
BLOCKS = st.integers(1, 20)


def numbers(start: int, count: int) -> pl.DataFrame:
    """Return rows in order of time, two at each second."""
    rows = pl.DataFrame({"n": pl.int_range(start, start + count, eager=True)})
    return rows.with_columns(at=pl.lit(BEGIN, pl.Datetime("us")) + pl.duration(seconds=pl.col("n") // 2))


def timed(limit: int | None = LIMIT) -> GenerateSource:
    return generate(numbers, limit=limit, event_time="at", watermark="0s")


class Subtasks:
    """The readers of all subtasks, polled in any order."""

    def __init__(
        self, source: GenerateSource, subtasks: int, snapshot: ReaderSnapshot | None = None, batch_rows: int = 10
    ) -> None:
        splits = source.splits() if snapshot is None else source.resumed(source.splits(), snapshot.splits)
        self.readers = [
            SourceReader(source, splits, at, subtasks, snapshot, batch_rows=batch_rows, batch_ms=0)
            for at in range(subtasks)
        ]
        self.watermarks = [MIN_TIME_US] * subtasks
        self.given: list[list[int]] = [[] for _ in range(subtasks)]
        self.late: list[int] = []
        self.ended = [False] * subtasks

    def poll(self, at: int, now_us: int = 0) -> None:
        for message in self.readers[at].poll(now_us):
            if isinstance(message, Batch):
                rows = message.collected()
                self.given[at] += rows["n"].to_list()
                if "at" in rows.columns:
                    self.late += rows.filter(time_us("at") <= min(self.watermarks))["n"].to_list()
            elif isinstance(message, Watermark):
                self.watermarks[at] = message.us
            elif isinstance(message, End):
                self.ended[at] = True

    def run(self, order: Sequence[int] = ()) -> None:
        for at in order:
            self.poll(at % len(self.readers))
        while not all(self.ended):
            for at in range(len(self.readers)):
                self.poll(at)

    def snapshot(self) -> ReaderSnapshot:
        return merge_snapshots([reader.snapshot() for reader in self.readers])

    def close(self) -> None:
        for reader in self.readers:
            reader.close()

    @property
    def rows(self) -> list[int]:
        return sorted(n for given in self.given for n in given)


@EXAMPLES
@given(count=st.integers(1, 6), block_rows=BLOCKS, limit=st.integers(0, 200), at=st.integers(0, 200))
def test_stripes_share_all_rows(count: int, block_rows: int, limit: int, at: int) -> None:
    stripes = Stripes(count, block_rows)
    homes = {n: [split for split in range(count) if stripes.next_row(split, n) == n] for n in range(limit)}
    assert all(len(home) == 1 for home in homes.values())
    counts = [sum(home == [split] for home in homes.values()) for split in range(count)]
    assert counts == [stripes.rows_of(split, limit) for split in range(count)]
    for split, name in enumerate(stripes.ids()):
        known, found = Stripes.of(name)
        assert found == split
        assert known.next_row(found, at) == stripes.next_row(split, at)
        assert stripes.next_row(split, at) == next(n for n in range(at, at + 200) if n // block_rows % count == split)


@EXAMPLES
@given(subtasks=SUBTASKS, block_rows=BLOCKS, batch_rows=st.integers(1, 40), order=st.lists(st.integers(0, 3)))
def test_rows_in_order_are_never_late(subtasks: int, block_rows: int, batch_rows: int, order: list[int]) -> None:
    every = Subtasks(in_stripes(timed(), subtasks, block_rows), subtasks, batch_rows=batch_rows)
    every.run(order)
    assert every.rows == list(range(LIMIT))
    assert every.late == []
    assert all(given == sorted(given) for given in every.given)
    if subtasks > 1 and subtasks * block_rows <= LIMIT:
        assert all(every.given)


@EXAMPLES
@given(
    parallelism=st.lists(SUBTASKS, min_size=2, max_size=4),
    block_rows=BLOCKS,
    order=st.lists(st.integers(0, 3), max_size=8),
    is_timed=st.booleans(),
)
def test_another_number_of_subtasks_goes_on_where_the_ones_before_were(
    parallelism: list[int], block_rows: int, order: list[int], is_timed: bool
) -> None:
    source = timed() if is_timed else generate(numbers, limit=LIMIT)
    snapshot: ReaderSnapshot | None = None
    given_: list[int] = []
    for subtasks in parallelism:
        every = Subtasks(in_stripes(source, subtasks, block_rows), subtasks, snapshot)
        for at in order:
            every.poll(at % subtasks)
        given_ += every.rows
        assert every.late == []
        snapshot = every.snapshot()
        every.close()
    last = Subtasks(in_stripes(source, 2, 5), 2, snapshot)
    last.run()
    assert sorted(given_ + last.rows) == list(range(LIMIT))
    assert last.late == []


def test_a_snapshot_of_one_reader_of_all_rows_is_gone_on_from() -> None:
    """As savepoints have it that were taken before several subtasks read such a source."""
    alone = Subtasks(timed(), 1)
    alone.poll(0)
    assert list(alone.snapshot().splits) == ["rows"]
    rest = Subtasks(timed().shared(3), 3, alone.snapshot())
    rest.run()
    assert sorted(alone.rows + rest.rows) == list(range(LIMIT))


@EXAMPLES
@given(block_rows=BLOCKS, count=st.integers(2, 4), is_timed=st.booleans())
def test_one_subtask_reads_several_splits_in_turn(block_rows: int, count: int, is_timed: bool) -> None:
    """After a rescale to fewer, also where rows have no time and never end."""
    source = timed(limit=None) if is_timed else generate(numbers)
    every = Subtasks(in_stripes(source, count, block_rows), 1)
    for _ in range(12):
        every.poll(0)
    ahead = count * (block_rows + 10)
    assert len(every.rows) == 120
    assert max(every.rows) < 120 + ahead


@EXAMPLES
@given(block_rows=BLOCKS, count=st.integers(1, 4), rows=st.integers(1, 7))
def test_steps_by_hand_go_by_the_order_of_the_rows(block_rows: int, count: int, rows: int) -> None:
    source = in_stripes(generate(numbers, limit=LIMIT), count, block_rows)
    readers = [SteppedReader(source, source.splits(), at, count) for at in range(count)]
    first: list[int] = []
    while any(reader.next_order for reader in readers):
        reader = min((one for one in readers if one.next_order), key=lambda one: one.next_order or (0, 0, 0))
        taken = [n for m in reader.step(0, rows) if isinstance(m, Batch) for n in m.collected()["n"]]
        assert not first or taken[0] - max(first) <= rows * count
        first.append(taken[0])
    assert min(first) == 0


def test_a_rate_is_that_of_all_subtasks_together() -> None:
    source = generate(numbers, rows_per_second=100_000).shared(3)
    assert source.stripes == Stripes(3, 1_000)
    every = Subtasks(source, 3, batch_rows=5_000)
    for ms in range(51):
        for at in range(3):
            every.poll(at, ms * 1_000)
        assert every.rows == list(range(ms * 100 + 1))


def test_a_batch_is_as_large_as_it_may_be_however_small_blocks_are() -> None:
    for source in (generate(numbers), generate(numbers, limit=10_000)):
        every = Subtasks(in_stripes(source, 2, 20), 2, batch_rows=1_000)
        every.poll(1)
        assert len(every.rows) == 1_000


def test_a_stream_that_ends_by_itself_ends_in_all_subtasks() -> None:
    data = numbers(0, 55)
    every = Subtasks(in_stripes(generate(data.slice), 3, 10), 3)
    every.run()
    assert every.rows == list(range(55))


def test_who_reads_alone() -> None:
    def most(**how: object) -> int | None:
        return generate(numbers, event_time="at", **how).max_parallelism  # type: ignore[arg-type]

    assert most() is None
    assert most(limit=10) is None
    assert most(rows_per_second=100_000) is None
    assert most(rows_per_second=99_999) == 1
    assert most(pace="60x") == 1
    assert most(replayable=False) == 1
    assert [split.id for split in generate(numbers).shared(1).splits()] == ["rows"]
