"""The result log: whole records, dropped rows, folding, compaction."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.connectors.contracts.sink import SinkContext
from streamlab.core.changelog import ROW_KIND, fold
from streamlab.core.errors import SinkError
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS, LATE_ROWS
from streamlab.runtime.tables import results as results_module
from streamlab.runtime.tables.record_log import LogReader, LogWriter
from streamlab.runtime.tables.results import ResultTable, SideTables
from streamlab.runtime.tables.table_reader import (
    TableReader,
    fold_keyed,
    read_late_rows,
    read_side_rows,
    write_table_facts,
)
from streamlab.runtime.task.task_values import SideOutput

SCHEMA = pl.Schema({"k": pl.String, "n": pl.Int64})


def rows(*values: int, key: str = "a") -> pl.DataFrame:
    return pl.DataFrame({"k": [key] * len(values), "n": values}, schema=SCHEMA)


def changes(*values: tuple[str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(values, schema={"k": pl.String, "n": pl.Int64, ROW_KIND: pl.Int8}, orient="row")


def opened(folder: Path, subtask: int = 0, parallelism: int = 1, **options: object):
    table = ResultTable("results", SCHEMA, **options)
    (folder / "results").mkdir(exist_ok=True)
    write_table_facts(folder / "results", table.schema, table.keys)
    return table.open(SinkContext(str(folder), subtask, parallelism, 1, "results"))


def ns(frame: pl.DataFrame) -> list[int]:
    return sorted(frame["n"].to_list())


# -- the log -------------------------------------------------------------------------------------------------------


def test_each_record_is_read_once_in_order(tmp_path):
    writer, reader = LogWriter(tmp_path, "0", 1), LogReader(tmp_path)
    assert list(reader.read_new()) == []
    for value in range(3):
        writer.append(rows(value), step="s")
    first = list(reader.read_new())
    writer.append(rows(3))
    second = list(reader.read_new())
    writer.close()
    assert [r.frame["n"][0] for r in first + second] == [0, 1, 2, 3]
    assert [r.header.first_row for r in first + second] == [0, 1, 2, 3]
    assert first[0].header.step == "s"


@settings(deadline=None)  # it writes files
@given(cut=st.integers(0, 10**6))
def test_a_torn_record_is_not_seen_and_comes_whole_later(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("log")
    writer = LogWriter(folder, "0", 1)
    writer.append(rows(1))
    path = folder / "0-000000.arrows"
    whole = path.stat().st_size
    writer.append(rows(2))
    writer.close()
    data = path.read_bytes()
    path.write_bytes(data[: whole + cut % (len(data) - whole)])
    reader = LogReader(folder)
    assert [r.frame["n"][0] for r in reader.read_new()] == [1]
    path.write_bytes(data)
    assert [r.frame["n"][0] for r in reader.read_new()] == [2]


def test_a_new_file_begins_when_one_is_long_and_readers_follow(tmp_path):
    writer, reader = LogWriter(tmp_path, "0", 1, segment_bytes=1), LogReader(tmp_path)
    seen = []
    for value in range(5):
        writer.append(rows(value))
        seen += [r.frame["n"][0] for r in reader.read_new()]
    writer.close()
    assert seen == [0, 1, 2, 3, 4]
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("keep_rows", [0, 1, 7, 100])
@pytest.mark.parametrize("sizes", [[1000], [3, 1000, 5], [1] * 300, [90, 90, 90]])
def test_a_table_of_the_newest_rows_never_grows_past_a_few_times_their_number(tmp_path, keep_rows, sizes):
    writer, reader = LogWriter(tmp_path, "0", 1, keep_rows=keep_rows), LogReader(tmp_path)
    written = pl.Series("n", range(sum(sizes)))
    at = 0
    for size in sizes:
        writer.append(written[at : at + size].to_frame())
        at += size
    writer.close()
    kept = pl.concat([record.frame for record in reader.read_new()])
    assert kept["n"].to_list() == written[at - kept.height :].to_list()
    assert writer.rows == at
    assert writer.rows_dropped == at - kept.height
    assert min(keep_rows, at) <= kept.height <= max(1, 2.25 * keep_rows)


def test_a_writer_of_another_attempt_appends_behind(tmp_path):
    for attempt in (1, 2):
        writer = LogWriter(tmp_path, "0", attempt)
        writer.append(rows(attempt))
        writer.close()
    assert [r.header.attempt for r in LogReader(tmp_path).read_new()] == [1, 2]


# -- append-only tables --------------------------------------------------------------------------------------------


def test_rows_are_shown_at_a_flush(tmp_path):
    writer = opened(tmp_path)
    reader = TableReader(tmp_path / "results")
    assert reader.table().schema == SCHEMA
    writer.write(rows(1))
    writer.write(rows(2))
    assert reader.table().height == 0
    writer.flush()
    assert ns(reader.table()) == [1, 2]
    writer.write(rows(3))
    writer.commit(writer.prepare(0))
    writer.close()
    assert ns(reader.table()) == [1, 2, 3]
    assert ns(TableReader(tmp_path / "results").table()) == [1, 2, 3]


def test_an_endless_table_keeps_its_newest_rows_and_says_what_it_dropped(tmp_path):
    writer = opened(tmp_path, keep_rows=40)
    reader = TableReader(tmp_path / "results")
    for value in range(1000):
        writer.write(rows(value))
        writer.flush()
        if value % 100 == 0:
            reader.table()
    writer.close()
    for table in (reader, TableReader(tmp_path / "results")):
        kept = ns(table.table())
        assert kept == list(range(1000 - len(kept), 1000))
        assert 40 <= len(kept) <= 60
    assert writer.rows_dropped == 1000 - len(kept)


def test_a_table_that_trickles_in_is_held_in_few_pieces(tmp_path):
    writer = opened(tmp_path)
    reader = TableReader(tmp_path / "results")
    for value in range(300):
        writer.write(rows(value))
        writer.flush()
        assert reader.table()["n"][-1] == value
    writer.close()
    assert reader.table().n_chunks() < 12
    assert reader.table()["n"].to_list() == list(range(300))


def test_several_threads_may_read(tmp_path):
    writer = opened(tmp_path)
    reader = TableReader(tmp_path / "results")
    with ThreadPoolExecutor(4) as pool:
        for value in range(50):
            writer.write(rows(value))
            writer.flush()
            for table in pool.map(lambda _: reader.table(), range(4)):
                assert table["n"].to_list() == list(range(value + 1))
    writer.close()


def test_subtasks_write_next_to_each_other(tmp_path):
    writers = [opened(tmp_path, subtask, 2) for subtask in range(2)]
    for subtask, writer in enumerate(writers):
        writer.write(rows(subtask))
        writer.flush()
        writer.close()
    assert ns(TableReader(tmp_path / "results").table()) == [0, 1]


def test_the_newest_changes_are_at_hand_however_they_came(tmp_path, monkeypatch):
    monkeypatch.setattr("streamlab.runtime.tables.table_reader.NEWEST_ROWS", 10)
    writer = opened(tmp_path)
    reader = TableReader(tmp_path / "results")
    assert reader.newest().schema == {**SCHEMA, ROW_KIND: pl.Int8}
    written = 0
    for height in (3, 4, 1, 50, 2, 9):
        writer.write(rows(*range(written, written + height)))
        writer.flush()
        written += height
        newest = reader.newest()
        assert newest["n"].to_list() == list(range(max(0, written - 10), written))
        assert set(newest[ROW_KIND]) == {0}
    writer.close()


# -- updating tables -----------------------------------------------------------------------------------------------

HISTORY = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=40)


def changelog_of(history: list[tuple[str, int]]) -> list[pl.DataFrame]:
    """One frame per step: the key gets a value, or is deleted when it gets the one that it has."""
    table: dict[str, int] = {}
    frames = []
    for key, value in history:
        if key not in table:
            frames.append(changes((key, value, 0)))
            table[key] = value
        elif table[key] == value:
            frames.append(changes((key, value, 3)))
            del table[key]
        else:
            frames.append(changes((key, table[key], 1), (key, value, 2)))
            table[key] = value
    return frames


@pytest.mark.parametrize("keys", [None, ("k",)])
@settings(deadline=None)  # it writes files
@given(history=HISTORY, cuts=st.sets(st.integers(0, 40)), compact=st.booleans())
def test_an_updating_table_is_the_fold_of_all_changes(tmp_path_factory, keys, history, cuts, compact):
    folder = tmp_path_factory.mktemp("job")
    writer = opened(folder, keys=keys)
    if compact:
        writer._compact_at = 0
    reader = TableReader(folder / "results")
    frames = changelog_of(history)
    for at, frame in enumerate(frames):
        writer.write(frame)
        if at in cuts:
            writer.flush()
            reader.table()
    writer.prepare(0)
    writer.close()
    expected = fold(pl.concat(frames)).sort("k") if frames else rows()
    assert_frame_equal(reader.table().sort("k"), expected)
    assert_frame_equal(TableReader(folder / "results").table().sort("k"), expected)


def test_the_log_of_an_updating_table_does_not_grow_with_its_history(tmp_path, monkeypatch):
    monkeypatch.setattr(results_module, "_COMPACT_ROWS", 100)
    writer = opened(tmp_path, keys=("k",))
    for value in range(2000):
        writer.write(changes(("a", value, 0 if value == 0 else 2)))
        writer.flush()
    writer.close()
    reader = TableReader(tmp_path / "results")
    assert reader.table().rows() == [("a", 1999)]
    assert reader.changelog().height < 1_000_000 / 2
    assert reader.changelog()["n"][-1] == 1999


def test_a_table_whose_few_rows_change_all_the_time_stays_quick_to_open(tmp_path, monkeypatch):
    monkeypatch.setattr(results_module, "_COMPACT_RECORDS", 50)
    writer = opened(tmp_path, keys=("k",))
    reader = TableReader(tmp_path / "results")
    for value in range(1000):
        writer.write(changes(("a", value, 0 if value == 0 else 2)))
        writer.flush()
        if value % 70 == 0:
            assert reader.table().rows() == [("a", value)]
    writer.close()
    fresh = TableReader(tmp_path / "results")
    assert fresh.table().rows() == [("a", 999)]
    assert len(list(writer._log.records())) <= 60


def test_a_keyless_table_has_one_row():
    log = changes(("a", 1, 0), ("a", 1, 1), ("a", 2, 2))
    assert fold_keyed(log, ()).rows() == [("a", 2)]
    assert fold_keyed(changes(("a", 1, 0), ("a", 1, 3)), ()).height == 0


def test_append_only_rows_are_insertions_in_the_changelog(tmp_path):
    writer = opened(tmp_path)
    reader = TableReader(tmp_path / "results")
    assert reader.changelog().columns == ["k", "n", ROW_KIND]
    writer.write(rows(1))
    writer.flush()
    writer.close()
    assert reader.changelog()[ROW_KIND].to_list() == [0]


# -- side tables ---------------------------------------------------------------------------------------------------


def test_side_outputs_of_different_steps_are_read_together(tmp_path):
    tables = SideTables(tmp_path, 0, 1)
    tables.store(SideOutput(LATE_ROWS, "a", pl.DataFrame({"x": [1]})))
    tables.store(SideOutput(LATE_ROWS, "a", pl.DataFrame({"x": [2]})))
    tables.store(SideOutput(LATE_ROWS, "b", pl.DataFrame({"y": ["z"]})))
    letter = pl.DataFrame([["s", "r", "i", "o"]], schema=DEAD_LETTER_SCHEMA, orient="row")
    tables.store(SideOutput(DEAD_LETTERS, "s", letter))
    tables.store(SideOutput(DEAD_LETTERS, "s", letter.clear()))
    tables.flush(now=True)
    tables.close()
    assert read_late_rows(tmp_path).rows() == [(1, None), (2, None), (None, "z")]
    assert_frame_equal(pl.concat(read_side_rows(tmp_path, DEAD_LETTERS)), letter)


def test_no_side_outputs(tmp_path):
    assert read_late_rows(tmp_path).height == 0
    assert read_side_rows(tmp_path, DEAD_LETTERS) == []


# -- a full disk ---------------------------------------------------------------------------------------------------


def test_a_full_disk_is_a_clear_error(tmp_path, monkeypatch):
    writer = opened(tmp_path)

    def no_space(*_: object, **__: object):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer._log, "append", no_space)
    writer.write(rows(1))
    with pytest.raises(SinkError, match=r"free space in the job's folder, got No space left on device"):
        writer.flush()
    writer.close()


@given(history=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30), cut=st.integers(0, 30))
def test_changes_without_update_before_are_completed(tmp_path_factory, history, cut):
    folder = tmp_path_factory.mktemp("job")
    writer = opened(folder, keys=("k",))
    complete, known = [], {}
    for at, (key, value) in enumerate(history):
        kind = 2 if key in known else 0
        if kind:
            complete.append((key, known[key], 1))
        complete.append((key, value, kind))
        known[key] = value
        change = pl.DataFrame({"k": [key], "n": [value], ROW_KIND: [kind]}, schema_overrides={ROW_KIND: pl.Int8})
        writer.write(change)
        if at == cut:
            writer.flush()
    writer.flush()
    writer.close()
    reader = TableReader(folder / "results")
    assert sorted(reader.table().rows()) == sorted(known.items())
    for key in "abc":
        changes = reader.changelog()
        mine = changes.filter(k=key) if changes.height else changes
        assert mine.rows() == [row for row in complete if row[0] == key]
