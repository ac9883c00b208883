"""What a followed folder, a file and a batch cost does not grow with how many files and splits there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl
import pytest
from ratio import MOST, cost_ratio

from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import timing
from streamlab.connectors.files.files import FileSource, scan_csv
from streamlab.connectors.files.listing import FileListing
from streamlab.connectors.reading.discovery import LOOK_EVERY_US
from streamlab.connectors.reading.finished_splits import FinishedIds
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.reader import SourceReader
from streamlab.core.messages import End
from streamlab.testing.sources import SplitFrames

FEW, MANY, NEW = 100, 10_000, 20
SCHEMA = pl.Schema({"at": pl.Datetime("us"), "n": pl.Int64})


def put(folder: Path, number: int) -> None:
    path = folder / f"part-{number:06}.csv"
    path.write_text(f"at,n\n2024-01-01 00:00:00,{number}\n")
    os.utime(path, ns=(0, 0))


class Followed:
    """A folder of files that were all read before a restart, and the reader that goes on from there."""

    def __init__(self, folder: Path, files: int) -> None:
        self.folder, self.files = folder, files
        folder.mkdir()
        ids = FinishedIds()
        for number in range(files):
            put(folder, number)
            ids.add(str(folder / f"part-{number:06}.csv"))
        self.source: FileSource = scan_csv(folder, schema=SCHEMA, follow=True, event_time="at", watermark="0s")
        before = ReaderSnapshot(finished=ids.stored(), found=())
        self.reader = SourceReader(self.source, [], snapshot=before, batch_ms=0)
        self.now_us = 10**15
        self.new_files()

    def idle(self) -> None:
        for _ in range(200):
            self.now_us += 1_000
            assert self.reader.poll(self.now_us) == []
            self.reader.wakeup_us(self.now_us)
            self.reader.time_status(30)

    def new_files(self) -> None:
        """Let files appear, and read them; the folder is listed once for all of them."""
        rows = self.reader.rows_read
        for number in range(self.files, self.files + NEW):
            put(self.folder, number)
        self.files += NEW
        for _ in range(NEW):
            self.now_us += LOOK_EVERY_US
            self.reader.poll(self.now_us)
            if self.reader.rows_read == rows + NEW:
                return
        pytest.fail("not all were read")

    def checkpoint(self) -> None:
        msgspec.json.encode(self.reader.snapshot())


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Followed, Followed]:
    root = tmp_path_factory.mktemp("followed")
    return Followed(root / "few", FEW), Followed(root / "many", MANY)


def test_a_reader_that_waits(followed: tuple[Followed, Followed]) -> None:
    few, many = followed
    assert cost_ratio(many.idle, few.idle) < MOST


def test_a_checkpoint(followed: tuple[Followed, Followed]) -> None:
    few, many = followed
    assert cost_ratio(many.checkpoint, few.checkpoint) < MOST
    assert len(msgspec.json.encode(many.reader.snapshot())) < 2 * len(msgspec.json.encode(few.reader.snapshot()))


def test_new_files(followed: tuple[Followed, Followed]) -> None:
    few, many = followed
    assert cost_ratio(many.new_files, few.new_files) < MOST


def test_looking_for_new_files(tmp_path: Path) -> None:
    """A folder that stands still is not listed, however often it is looked at."""
    clock = [0.0]

    def looks(files: int) -> Callable[[], object]:
        folder = tmp_path / str(files)
        folder.mkdir()
        for number in range(files):
            (folder / f"{number}.csv").touch()
        listing = FileListing("step", [str(folder)], [".csv"], clock=lambda: clock[0])
        for _ in range(5):
            clock[0] += 1
            listing.new_files()
        return lambda: [listing.new_files() for _ in range(200)]

    assert cost_ratio(looks(MANY), looks(FEW)) < MOST


@dataclass(frozen=True)
class Even(Source):
    """Splits of endless rows, a millisecond apart, in turns."""

    count: int = 1
    bounded = False

    def splits(self) -> Sequence[Split]:
        return [Split(str(number), None, number) for number in range(self.count)]

    def open(self, split: Split, position: Position) -> SplitReader:
        return _EvenReader(int(split.id), self.count)


class _EvenReader(SplitReader):
    done = False

    def __init__(self, number: int, count: int) -> None:
        self._next, self._step = number, count

    def read(self, limit: int, now_us: int) -> Read | None:
        us = pl.int_range(self._next, self._next + limit * self._step, self._step, eager=True)
        self._next += limit * self._step
        return Read(pl.DataFrame({"at": us.cast(pl.Datetime("us")), "n": us}), self._next, limit)


def polled(source: Source, polls: int, **options: object) -> Callable[[], object]:
    reader = SourceReader(source, source.splits(), batch_rows=100, batch_ms=0, **options)
    clock = iter(range(10**15, 10**16, 1_000))

    def call() -> None:
        for _ in range(polls):
            now_us = next(clock)
            assert reader.poll(now_us)
            reader.wakeup_us(now_us)

    return call


@pytest.mark.parametrize(("few", "many"), [(1, 64), (64, 4_000)])
@pytest.mark.parametrize("idle_timeout", [None, "1m"])
def test_a_batch_of_many_splits(few: int, many: int, idle_timeout: str | None) -> None:
    said = timing("at", "1s", idle_timeout)
    small, large = (polled(Even("even", SCHEMA, timing=said, count=count), 30) for count in (few, many))
    assert cost_ratio(large, small) < MOST


def read_once(splits: int) -> Callable[[], object]:
    """Return what reads so many small splits to their ends, several in a batch."""
    frames = tuple(pl.DataFrame({"at": [number], "n": [number]}, schema=SCHEMA) for number in range(splits))
    source = SplitFrames("frames", SCHEMA, frames, timing=timing("at", "1s"))
    listed = source.splits()

    def call() -> None:
        reader = SourceReader(source, listed, batch_rows=10)
        now_us = 10**15
        while not isinstance((reader.poll(now_us) or [None])[-1], End):
            now_us = reader.wakeup_us(now_us) or now_us + 1
        assert reader.rows_read == splits

    return call


def test_splits_that_are_read_once() -> None:
    assert cost_ratio(read_once(20 * FEW), read_once(FEW), repeats=2) / 20 < MOST
