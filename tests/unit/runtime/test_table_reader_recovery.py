"""What a job's tables show while attempts fail and go on from checkpoints, against plain lists."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.connectors.contracts.sink import Pending, SinkContext, SinkWriter
from streamlab.core.changelog import ROW_KIND, fold
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS, LATE_ROWS
from streamlab.runtime.job_folder.attempts import Attempt, read_attempts, record_attempt
from streamlab.runtime.messages.protocol import Layout
from streamlab.runtime.tables import record_log, table_reader
from streamlab.runtime.tables import results as results_module
from streamlab.runtime.tables.note_reader import NoteReader
from streamlab.runtime.tables.record_log import LogReader, LogWriter
from streamlab.runtime.tables.results import ResultTable, SideTables
from streamlab.runtime.tables.table_reader import TableReader, read_late_rows, write_table_facts
from streamlab.runtime.task.task_values import SideOutput

SCHEMA = pl.Schema({"k": pl.Int64, "n": pl.Int64})
CHANGES = pl.Schema({**SCHEMA, ROW_KIND: pl.Int8})
KEEP = 2
INSERT, BEFORE, AFTER, DELETE = 0, 1, 2, 3

Row = tuple[int, ...]


@dataclass
class Written:
    """Rows as the model remembers them."""

    attempt: int
    epoch: int
    owner: int
    parallelism: int
    rows: list[Row]


@dataclass
class History:
    """A job's attempts, its real writers, and a list of all that counts."""

    folder: Path
    table: ResultTable
    parallelism: int = 2
    attempt: int = 0
    checkpoint: int = 0
    epoch: int = 0
    kept: list[int] = field(default_factory=list)
    """Complete checkpoints, oldest first."""
    prepared: list[list[Pending]] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    writers: list[SinkWriter] = field(default_factory=list)
    sides: SideTables | None = None
    waiting: list[Written] = field(default_factory=list)
    pending_of: dict[int, list[list[Pending]]] = field(default_factory=dict)
    next_value: int = 0

    def begin(self, restored: int, parallelism: int) -> None:
        """Start an attempt; the one before is gone, with what it had not flushed."""
        for writer in self.writers:
            writer.close()
        if self.sides is not None:
            self.sides.close()
        self.waiting.clear()
        pending = self.pending_of.get(restored, [])
        self.written = [one for one in self.written if one.epoch < restored] if self.attempt else []
        self.kept = [one for one in self.kept if one <= restored]
        self.attempt, self.epoch, self.parallelism = self.attempt + 1, restored, parallelism
        layout = Layout(parallelism, ())
        record_attempt(self.folder / "results", Attempt(self.attempt, restored, layout))
        self.writers = []
        for subtask in range(parallelism):
            context = SinkContext(
                str(self.folder),
                subtask,
                parallelism,
                self.attempt,
                "results",
                checkpoints=True,
                restored=restored or None,
                keep_checkpoints=KEEP,
            )
            writer = self.table.open(context)
            for old in range(subtask, len(pending), parallelism):
                for one in pending[old]:
                    writer.commit(one)
            self.writers.append(writer)
        self.prepared = [[] for _ in self.writers]
        self.sides = SideTables(self.folder / "results", 0, self.attempt)

    def write(self, key: int, rows: list[Row], schema: pl.Schema, *, flush: bool) -> None:
        owner = key % self.parallelism
        self.writers[owner].write(pl.DataFrame(rows, schema=schema, orient="row"))
        self.waiting.append(Written(self.attempt, self.epoch, owner, self.parallelism, rows))
        if flush:
            self.flush()

    def flush(self) -> None:
        for writer in self.writers:
            writer.flush()
        self.written += self.waiting
        self.waiting.clear()

    def barrier(self, *, complete: bool) -> None:
        """Take a checkpoint, which is complete at once or given up."""
        self.checkpoint += 1
        for writer, prepared in zip(self.writers, self.prepared, strict=True):
            prepared.append(writer.prepare(self.checkpoint))
        self.written += self.waiting
        self.waiting.clear()
        self.epoch = self.checkpoint
        if complete:
            self.pending_of[self.checkpoint] = [list(one) for one in self.prepared]
            for writer, prepared in zip(self.writers, self.prepared, strict=True):
                for one in prepared:
                    writer.commit(one)
                prepared.clear()
            self.kept = [*self.kept, self.checkpoint][-KEEP:]

    @property
    def rows(self) -> list[Row]:
        return [row for one in self.written for row in one.rows]

    @property
    def state(self) -> dict[int, int]:
        """The table that all changes, flushed or not, describe."""
        return described([*self.rows, *(row for one in self.waiting for row in one.rows)])

    def close(self) -> None:
        for writer in self.writers:
            writer.close()
        if self.sides is not None:
            self.sides.close()


def described(changes: list[Row]) -> dict[int, int]:
    table: dict[int, int] = {}
    for key, value, kind in changes:
        if kind in {INSERT, AFTER}:
            table[key] = value
        elif kind == DELETE:
            del table[key]
    return table


def new_history(folder: Path, parallelism: int, **options: object) -> History:
    table = ResultTable("results", SCHEMA, **options)
    (folder / "results").mkdir()
    write_table_facts(folder / "results", table.schema, table.keys)
    history = History(folder, table)
    history.begin(0, parallelism)
    return history


def multiset(table: pl.DataFrame) -> Counter[Row]:
    assert table.schema == SCHEMA
    return Counter(table.rows())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 4), st.integers(0, 3)),
        st.tuples(st.just("write"), st.integers(0, 4), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(0, 4), st.integers(0, 3)),
        st.tuples(st.just("barrier"), st.sampled_from([True, True, False]), st.none()),
        st.tuples(st.just("restart"), st.integers(0, KEEP - 1), st.sampled_from([0, 0, 0, 1, 2, 3])),
        st.tuples(st.just("read"), st.none(), st.none()),
    ),
    max_size=30,
)


def restart(history: History, back: int, parallelism: int) -> None:
    restored = history.kept[-1 - back] if len(history.kept) > back else (history.kept or [0])[0]
    history.begin(restored, parallelism or history.parallelism)


@settings(deadline=None)  # it writes files
@given(steps=STEPS, parallelism=st.integers(1, 3))
def test_append_only_rows_are_shown_once_whatever_fails(steps, parallelism):
    with tempfile.TemporaryDirectory() as folder:
        history = new_history(Path(folder), parallelism)
        reader = TableReader(Path(folder) / "results")
        for name, first, second in steps:
            if name in {"write", "wait"}:
                rows = [(first, history.next_value + at) for at in range(second)]
                history.next_value += second
                history.write(first, rows, SCHEMA, flush=name == "write")
            elif name == "barrier":
                history.barrier(complete=first)
            elif name == "restart":
                restart(history, first, second)
            else:
                assert multiset(reader.table()) == Counter(history.rows)
        history.close()
        fresh = TableReader(Path(folder) / "results")
        assert multiset(reader.table()) == multiset(fresh.table()) == Counter(history.rows)
        changelog = fresh.changelog()
        assert changelog[ROW_KIND].to_list() == [INSERT] * len(history.rows)
        assert multiset(changelog.drop(ROW_KIND)) == Counter(history.rows)


@pytest.mark.parametrize("keys", [("k",), None])
@settings(deadline=None, max_examples=100)  # it writes files
@given(steps=STEPS, parallelism=st.integers(1, 3))
def test_an_updating_table_is_what_its_standing_changes_describe(keys, steps, parallelism):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_module, "_COMPACT_ROWS", 3)
        patch.setattr(results_module, "_COMPACT_FACTOR", 2)
        history = new_history(Path(folder), parallelism, keys=keys)
        reader = TableReader(Path(folder) / "results")
        for name, first, second in steps:
            if name in {"write", "wait"}:
                known = history.state.get(first)
                history.next_value += 1
                if known is None:
                    rows = [(first, history.next_value, INSERT)]
                elif second == 0:
                    rows = [(first, known, DELETE)]
                else:
                    rows = [(first, known, BEFORE), (first, history.next_value, AFTER)]
                history.write(first, rows, CHANGES, flush=name == "write")
            elif name == "barrier":
                history.barrier(complete=first)
            elif name == "restart":
                restart(history, first, second)
            else:
                assert dict(reader.table().rows()) == described(history.rows)
        history.close()
        expected = Counter(described(history.rows).items())
        fresh = TableReader(Path(folder) / "results")
        assert multiset(reader.table()) == multiset(fresh.table()) == expected
        assert multiset(fold(fresh.changelog()).cast(SCHEMA)) == expected


@settings(deadline=None)  # it writes files
@given(steps=STEPS, keep_rows=st.integers(1, 6))
def test_of_a_table_of_the_newest_rows_only_the_oldest_are_gone(steps, keep_rows):
    with tempfile.TemporaryDirectory() as folder:
        history = new_history(Path(folder), 1, keep_rows=keep_rows)
        reader = TableReader(Path(folder) / "results")
        for name, first, second in steps:
            if name in {"write", "wait"}:
                rows = [(0, history.next_value + at) for at in range(second)]
                history.next_value += second
                history.write(0, rows, SCHEMA, flush=name == "write")
            elif name == "barrier":
                history.barrier(complete=first)
            elif name == "restart":
                restart(history, first, 1)
            else:
                check_newest(reader.table(), history.rows)
        history.close()
        check_newest(reader.table(), history.rows)
        check_newest(TableReader(Path(folder) / "results").table(), history.rows)
        since = [row for one in history.written if one.attempt == history.attempt for row in one.rows]
        assert reader.table().height >= min(keep_rows, len(since))


def check_newest(table: pl.DataFrame, rows: list[Row]) -> None:
    shown = sorted(table["n"].to_list())
    assert shown == [value for _, value in rows[len(rows) - len(shown) :]]


@settings(deadline=None)  # it writes files
@given(steps=STEPS)
def test_late_rows_and_dead_letters_of_a_withdrawn_attempt_are_gone(steps):
    with tempfile.TemporaryDirectory() as folder:
        history = new_history(Path(folder), 1)
        reader = NoteReader(Path(folder) / "results", DEAD_LETTERS)
        late: list[tuple[int, int]] = []
        for name, first, second in steps:
            if name in {"write", "wait"} and second:
                history.next_value += 1
                values = [history.next_value] * second
                rows = pl.DataFrame({"k": [first] * second, "n": values}, schema=SCHEMA)
                letters = pl.DataFrame([("source", "bad", str(values[0]), "a file")], DEAD_LETTER_SCHEMA, orient="row")
                history.sides.store(SideOutput(LATE_ROWS, "window", rows, history.epoch))
                history.sides.store(SideOutput(DEAD_LETTERS, "source", letters, history.epoch))
                late.append((history.epoch, values[0]))
            elif name == "barrier":
                history.sides.sync()
                history.barrier(complete=first)
            elif name == "restart":
                history.sides.sync()
                restart(history, first, second)
                late = [one for one in late if one[0] < history.epoch]
            elif name == "read":
                history.sides.flush(now=True)
                expected = [value for _, value in late]
                assert letters_in(reader) == expected
        history.sides.flush(now=True)
        history.close()
        shown = read_late_rows(Path(folder) / "results")
        assert set(shown["n"].to_list() if shown.width else []) == {value for _, value in late}
        assert letters_in(reader) == [value for _, value in late]


def letters_in(reader: NoteReader) -> list[int]:
    return sorted(int(text) for _, letters in reader.read() for text in letters["input"])


def test_checkpoints_that_were_given_up_do_not_count_as_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(results_module, "_COMPACT_ROWS", 1)
    history = new_history(tmp_path, 1, keys=("k",))
    for complete in (True, False, False, True):
        history.write(0, [(0, history.checkpoint, INSERT)], CHANGES, flush=True)
        history.barrier(complete=complete)
    history.write(0, [(0, 9, INSERT)], CHANGES, flush=True)
    assert history.kept == [1, 4]
    history.begin(1, 1)
    history.close()
    assert TableReader(tmp_path / "results").table().rows() == [(0, 0)]


# -- what happens while somebody reads -----------------------------------------------------------------------------


def frame(*values: int) -> pl.DataFrame:
    return pl.DataFrame({"k": [0] * len(values), "n": values}, schema=SCHEMA)


@pytest.mark.parametrize("what", ["table", "changelog"])
def test_an_attempt_that_begins_while_somebody_reads_shows_nothing_twice(tmp_path, monkeypatch, what):
    history = new_history(tmp_path, 1)
    history.write(0, [(0, 1), (0, 2)], SCHEMA, flush=True)
    reader = TableReader(tmp_path / "results")
    reader.table()

    def read_then_restart(results: Path) -> tuple[Attempt, ...]:
        found = read_attempts(results)
        monkeypatch.undo()
        history.begin(0, 1)
        history.write(0, [(0, 1), (0, 2)], SCHEMA, flush=True)
        return found

    monkeypatch.setattr(table_reader, "read_attempts", read_then_restart)
    shown = reader.table() if what == "table" else reader.changelog()
    assert sorted(shown["n"].to_list()) in ([], [1, 2])
    assert sorted(reader.table()["n"].to_list()) == [1, 2]
    history.close()


def test_late_rows_are_not_shown_twice_either(tmp_path, monkeypatch):
    history = new_history(tmp_path, 1)

    def set_aside() -> None:
        history.sides.store(SideOutput(LATE_ROWS, "window", frame(1), 0))
        history.sides.flush(now=True)

    def read_then_restart(results: Path) -> tuple[Attempt, ...]:
        found = read_attempts(results)
        monkeypatch.undo()
        history.begin(0, 1)
        set_aside()
        return found

    set_aside()
    monkeypatch.setattr(table_reader, "read_attempts", read_then_restart)
    assert read_late_rows(tmp_path / "results").height <= 1
    assert read_late_rows(tmp_path / "results").height == 1
    history.close()


@pytest.mark.parametrize("what", ["first look", "table", "changelog"])
def test_a_log_that_is_rewritten_while_somebody_reads_loses_nothing(tmp_path, monkeypatch, what):
    history = new_history(tmp_path, 1, keys=("k",))
    for key in range(6):
        history.write(key, [(key, key, INSERT)], CHANGES, flush=True)
        history.barrier(complete=True)
    reader = TableReader(tmp_path / "results")
    if what == "table":
        reader.table()
    history.write(0, [(0, 0, BEFORE), (0, 7, AFTER)], CHANGES, flush=True)
    listed = record_log._segments

    def list_then_rewrite(folder: Path) -> dict[str, list[int]]:
        found = listed(folder)
        monkeypatch.setattr(record_log, "_segments", listed)
        history.writers[0]._compact()
        return found

    monkeypatch.setattr(record_log, "_segments", list_then_rewrite)
    shown = fold(reader.changelog()) if what == "changelog" else reader.table()
    assert dict(shown.rows()) == {0: 7, **{key: key for key in range(1, 6)}}
    assert dict(reader.table().rows()) == {0: 7, **{key: key for key in range(1, 6)}}
    history.close()


def test_files_that_are_dropped_while_somebody_reads_do_not_hide_those_that_follow(tmp_path, monkeypatch):
    writer = LogWriter(tmp_path, "0", 1, keep_rows=1)
    writer.append(frame(1))
    reader = LogReader(tmp_path)
    listed = record_log._segments

    def list_then_drop(folder: Path) -> dict[str, list[int]]:
        found = listed(folder)
        monkeypatch.setattr(record_log, "_segments", listed)
        for value in (2, 3, 4):
            writer.append(frame(value))
        return found

    monkeypatch.setattr(record_log, "_segments", list_then_drop)
    seen = [record.frame["n"][0] for record in reader.read_new()]
    assert seen[-1] == 4
    assert list(reader.read_new()) == []
    writer.close()
