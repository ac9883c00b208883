"""Sinks: what goes wrong, and what a user's function sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from streamlab.connectors.contracts.sink import SinkContext
from streamlab.connectors.sinks import part_files
from streamlab.connectors.sinks.batches import BatchesSink
from streamlab.connectors.sinks.files import CsvSink, NdjsonSink, ParquetSink
from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import OptionError, SinkError

CONTEXT = SinkContext("/jobs/1", 0, 1, 0, "sink")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OptionError, match="which is a file"):
        ParquetSink("sink_parquet", str(tmp_path / "out"))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    sink = ParquetSink("sink_parquet", str(tmp_path / "out" / "deep"))
    (tmp_path / "out").write_text("")
    with pytest.raises(SinkError, match="sink_parquet: needs to make the folder"):
        sink.open(CONTEXT)


def test_a_full_disk_is_named_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(self: CsvSink, frame: pl.DataFrame, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CsvSink, "encode", fill)
    writer = CsvSink("sink_csv", str(tmp_path)).open(CONTEXT)
    writer.write(pl.DataFrame({"n": [1]}))
    with pytest.raises(SinkError, match="No space left on device"):
        writer.prepare(0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        (CsvSink, pl.Series([[1]])),
        (CsvSink, pl.Series([b"x"])),
        (NdjsonSink, pl.Series([b"x"])),
        (NdjsonSink, pl.Series([[{"a": b"x"}]])),
    ],
)
def test_a_column_that_the_format_cannot_hold(kind: type[CsvSink], column: pl.Series, tmp_path: Path) -> None:
    sink = kind("sink", str(tmp_path))
    frame = pl.DataFrame({"odd": column})
    with pytest.raises(SinkError, match="'odd'"):
        sink.check_schema(frame.schema)
    with pytest.raises(SinkError, match="'odd'"):
        sink.open(CONTEXT).write(frame)


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("made_anew", [True, False])
def test_rows_that_are_removed_between_prepare_and_commit_are_named(
    checkpoints: bool, made_anew: bool, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    context = SinkContext(str(tmp_path / "jobs" / "j-1"), 0, 1, 1, "sink", checkpoints=checkpoints)
    writer = ParquetSink("sink", str(out)).open(context)
    writer.write(pl.DataFrame({"n": range(1_500)}))
    pending = writer.prepare(7)
    shutil.rmtree(out)
    if made_anew:
        out.mkdir()
    rows = "1,500 rows written between checkpoint 7" if checkpoints else "the rows"
    with pytest.raises(SinkError, match=rows) as raised:
        writer.commit(pending)
    assert raised.value.lasting


def test_a_folder_that_goes_while_files_are_shown_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    context = SinkContext(str(tmp_path / "jobs" / "j-1"), 0, 1, 1, "sink", checkpoints=True)
    writer = ParquetSink("sink", str(out), roll_rows=1).open(context)
    for number in range(2):
        writer.write(pl.DataFrame({"n": [number]}))
    pending = writer.prepare(7)
    monkeypatch.setattr(part_files, "reach", lambda _: shutil.rmtree(out, ignore_errors=True))
    with pytest.raises(SinkError, match="is gone"):
        writer.commit(pending)


def test_two_subtasks_do_not_collide(tmp_path: Path) -> None:
    sink = NdjsonSink("sink", str(tmp_path))
    for subtask in range(2):
        writer = sink.open(SinkContext("/jobs/1", subtask, 2, 0, "sink"))
        writer.write(pl.DataFrame({"n": [subtask]}))
        writer.commit(writer.prepare(0))
    assert sorted(pl.read_ndjson(path).item() for path in tmp_path.iterdir()) == [0, 1]
    assert sink.guarantee == "exactly-once"
    assert not sink.accepts_updates
    assert str(tmp_path) in sink.describe()


def test_a_function_sees_each_batch() -> None:
    seen: list[pl.DataFrame] = []
    sink = BatchesSink("sink_batches", seen.append)
    writer = sink.open(CONTEXT)
    writer.write(pl.DataFrame({"n": [1]}))
    writer.write(pl.DataFrame({"n": []}, schema={"n": pl.Int64}))
    writer.commit(writer.prepare(0))
    writer.close()
    assert [frame.rows() for frame in seen] == [[(1,)]]
    assert sink.guarantee == "at-least-once"
    assert sink.is_user_code
    assert "append" in sink.describe()


def test_a_function_sees_the_row_kind_of_an_updating_stream_as_text() -> None:
    seen: list[pl.DataFrame] = []
    writer = BatchesSink("sink_batches", seen.append).open(CONTEXT)
    changes = pl.DataFrame({"n": [1, 1, 2, 2], ROW_KIND: [0, 1, 2, 3]}, schema_overrides={ROW_KIND: pl.Int8})
    writer.write(changes)
    assert seen[0].rows() == [(1, "+I"), (1, "-U"), (2, "+U"), (2, "-D")]
    with pytest.raises(SinkError, match="rename the column"):
        writer.write(changes.with_columns(op=pl.lit(1)))


def test_what_a_function_raises_is_not_hidden() -> None:
    def fail(frame: pl.DataFrame) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        BatchesSink("sink_batches", fail).open(CONTEXT).write(pl.DataFrame({"n": [1]}))
