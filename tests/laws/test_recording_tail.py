"""The end of a recording, taken elsewhere, is read as the whole one would be, and goes on with the source."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from streamlab.connectors.contracts.source import Source, Split, SplitReader
from streamlab.connectors.reading.finished_splits import FinishedSplits
from streamlab.connectors.recording import recording_writer
from streamlab.connectors.recording.recorded import recorded
from streamlab.connectors.recording.recording_notes import read_splits
from streamlab.connectors.recording.recording_tail import put_tail, tail_of
from streamlab.connectors.sources.generate import generate
from streamlab.core.errors import SourceError

SPLIT = Split("rows")


def numbers(start: int, n: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(start, start + n)})


def live(folder: Path) -> Source:
    return recorded(generate(numbers, rows_per_second=100, limit=40, replayable=False), str(folder))


def read(reader: SplitReader, polls: int, now_us: int = 0) -> list[tuple[object, list[int]]]:
    """Return what a reader gives: the position behind each batch, and its rows."""
    found = []
    for _ in range(polls):
        now_us += 50_000
        got = reader.read(4, now_us)
        if got is not None:
            found.append((got.position, got.frame.lazy().collect()["n"].to_list()))
    return found


@pytest.mark.parametrize("segment_bytes", [1, 2**20], ids=["a segment for each record", "one segment"])
def test_every_position_can_be_gone_on_from(tmp_path, monkeypatch, segment_bytes):
    monkeypatch.setattr(recording_writer, "SEGMENT_BYTES", segment_bytes)
    reader = live(tmp_path / "old").open(SPLIT, 0)
    before = read(reader, 5)
    reader.close()
    given = [n for _, rows in before for n in rows]
    assert len(before) > 2
    for at, position in enumerate([0, *(position for position, _ in before)]):
        folder = tmp_path / f"new {at}"
        put_tail(folder, tail_of(tmp_path / "old", {"rows": position}, FinishedSplits()))
        source = live(folder)
        new = source.open(SPLIT, position)
        rest = [n for _, rows in read(new, 60) for n in rows]
        new.close()
        seen = [n for _, rows in before[:at] for n in rows]
        assert seen + rest == list(range(40))
        assert seen + rest[: len(given) - len(seen)] == given
        kept = sum(log.stat().st_size for log in folder.glob("*/*.records"))
        assert kept > 0


def test_only_what_is_needed_is_taken(tmp_path):
    reader = live(tmp_path).open(SPLIT, 0)
    before = read(reader, 8)
    reader.close()
    whole = sum(len(data) for _, data in tail_of(tmp_path, {}, FinishedSplits())["rows"])
    last = tail_of(tmp_path, {"rows": before[-1][0]}, FinishedSplits())["rows"]
    assert [len(last), sum(len(data) for _, data in last) < whole / 4] == [1, True]
    assert set(read_splits(tmp_path)) == {"rows"}


def test_records_that_are_gone_are_missed(tmp_path):
    reader = live(tmp_path).open(SPLIT, 0)
    read(reader, 8)
    reader.close()
    with pytest.raises(SourceError, match="record 99"):
        tail_of(tmp_path, {"rows": 99}, FinishedSplits())
