"""Files of a job's results that are not as they were written: found, named, and told again each time."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.errors import StateError
from streamlab.core.messages import MAIN
from streamlab.runtime.job_folder.attempts import Attempt, read_attempts, record_attempt
from streamlab.runtime.job_folder.folder import create_folder
from streamlab.runtime.messages.protocol import Layout
from streamlab.runtime.tables.record_log import LogReader, LogWriter, standing
from streamlab.runtime.tables.table_reader import TableReader, read_late_rows, write_table_facts

RECORDS = [pl.DataFrame({"n": [number] * 5, "word": ["a word"] * 5}) for number in range(4)]


def results_of(folder: Path) -> tuple[Path, list[int]]:
    """Write a table and return its file, and where each record ends."""
    write_table_facts(folder, RECORDS[0].schema, None)
    writer, path, ends = LogWriter(folder / MAIN, "0", 1), folder / MAIN / "0-000000.arrows", []
    for frame in RECORDS:
        writer.append(frame, epoch=3)
        ends.append(path.stat().st_size)
    writer.close()
    return path, ends


def seen(reader: TableReader, path: Path, before: pl.DataFrame) -> str:
    try:
        return "the rows before" if reader.table().equals(before) else "other rows"
    except StateError as error:
        return "damage" if str(path) in str(error) else str(error)


@given(at=st.integers(0, 10**6), flipped=st.integers(1, 255))
def test_no_byte_changes_unseen(tmp_path_factory: pytest.TempPathFactory, at: int, flipped: int) -> None:
    folder = tmp_path_factory.mktemp("results")
    path, ends = results_of(folder)
    data = bytearray(path.read_bytes())
    # What ends a file too early cannot be told from a writer that was killed there; all else can.
    data[at % ends[-2]] ^= flipped
    path.write_bytes(data)
    reader = TableReader(folder)
    whole = next(number for number, end in enumerate(ends) if at % ends[-2] < end)
    before = pl.concat([RECORDS[0].clear(), *RECORDS[:whole]])
    # The next look, too, is to find it.
    assert {seen(reader, path, before) for _ in range(2)} in ({"damage"}, {"the rows before"})


def test_rows_that_were_withdrawn_may_be_damaged_and_zeros_are_nothing(tmp_path: Path) -> None:
    path, ends = results_of(tmp_path)
    data = bytearray(path.read_bytes())
    data[ends[0] + 60] ^= 1
    path.write_bytes(data + bytes(1000))
    with pytest.raises(StateError, match="damaged after it was written"):
        standing(LogReader(tmp_path / MAIN).read_new(), (Attempt(1, 0, Layout(1, ())),))
    again = (Attempt(1, 0, Layout(1, ())), Attempt(2, 3, Layout(1, ())))
    assert standing(LogReader(tmp_path / MAIN).read_new(), again) == []
    writer = LogWriter(tmp_path / MAIN, "0", 2, attempts=again)
    assert writer.rows == 0
    writer.close()


def test_other_files_are_named_as_well(tmp_path: Path) -> None:
    results_of(tmp_path)
    reader = TableReader(tmp_path)
    (tmp_path / "table.msgpack").write_bytes(b"\x01")
    with pytest.raises(StateError, match=r"table\.msgpack"):
        TableReader(tmp_path).schema.names()
    record_attempt(tmp_path, Attempt(1, 0, Layout(1, ())))
    (tmp_path / "attempts.json").write_bytes(b"\xff")
    for read in (lambda: read_attempts(tmp_path), reader.table, lambda: read_late_rows(tmp_path)):
        with pytest.raises(StateError, match=r"attempts\.json"):
            read()


def test_a_query_that_cannot_be_understood_is_an_error_of_ours(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("STREAMLAB_HOME", str(tmp_path))
    folder = create_folder()
    folder.write_query(b"\xf5 no pickle")
    with pytest.raises(StateError, match=folder.id):
        folder.understand_query()
