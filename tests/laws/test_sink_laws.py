"""Laws that every sink of files keeps: what is visible is whole, committed, and there once."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streamlab.connectors.contracts.sink import SinkContext
from streamlab.connectors.sinks.files import CsvSink, FolderSink, NdjsonSink, ParquetSink
from streamlab.core.errors import SinkError

READ: dict[type[FolderSink], Any] = {
    ParquetSink: pl.read_parquet,
    CsvSink: pl.read_csv,
    NdjsonSink: pl.read_ndjson,
}
Contexts = Callable[..., SinkContext]
FRAME = pl.DataFrame({"n": [1, 2, 3], "text": ["a", 'b,"c"\nd', None]})


@pytest.fixture(params=READ, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[FolderSink]:
    return request.param


@pytest.fixture
def context(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SinkContext]:
    jobs = tmp_path_factory.mktemp("jobs")

    def make(attempt: int = 0, *, checkpoints: bool = True, job: str = "1", restored: int | None = None) -> SinkContext:
        return SinkContext(str(jobs / job), 0, 2, attempt, "sink", checkpoints=checkpoints, restored=restored)

    return make


def visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def hidden(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.startswith("."))


def numbers(kind: type[FolderSink], folder: Path) -> list[int]:
    return sorted(n for path in visible(folder) for n in READ[kind](path).get_column("n").to_list())


def test_rows_come_back_as_they_were(kind: type[FolderSink], tmp_path: Path, context: Contexts) -> None:
    writer = pickle.loads(pickle.dumps(kind("sink", str(tmp_path / "a" / "b")))).open(context())
    writer.write(FRAME)
    writer.write(FRAME.clear())
    writer.commit(writer.prepare(1))
    writer.close()
    (path,) = visible(tmp_path / "a" / "b")
    assert READ[kind](path).rows() == FRAME.rows()


def test_nothing_is_visible_before_its_commit(kind: type[FolderSink], tmp_path: Path, context: Contexts) -> None:
    writer = kind("sink", str(tmp_path), roll_rows=2).open(context())
    writer.write(FRAME)
    writer.flush()
    assert visible(tmp_path) == []
    first = writer.prepare(1)
    writer.write(FRAME)
    second = writer.prepare(2)
    assert visible(tmp_path) == []
    assert len(hidden(tmp_path)) == 2
    writer.commit(first)
    assert numbers(kind, tmp_path) == [1, 2, 3]
    writer.commit(second)
    assert numbers(kind, tmp_path) == [1, 1, 2, 2, 3, 3]
    assert hidden(tmp_path) == []


def test_a_commit_may_be_repeated_by_another_writer(kind: type[FolderSink], tmp_path: Path, context: Contexts) -> None:
    sink = kind("sink", str(tmp_path))
    writer = sink.open(context(attempt=0))
    writer.write(FRAME)
    pending = writer.prepare(1)
    writer.close()
    after_a_crash = sink.open(context(attempt=1))
    for _ in range(2):
        after_a_crash.commit(pending)
        writer.commit(pending)
    assert numbers(kind, tmp_path) == [1, 2, 3]


def test_an_aborted_transaction_leaves_nothing(kind: type[FolderSink], tmp_path: Path, context: Contexts) -> None:
    writer = kind("sink", str(tmp_path)).open(context())
    writer.write(FRAME)
    pending = writer.prepare(1)
    writer.abort(pending)
    writer.abort(pending)
    assert list(tmp_path.iterdir()) == []


def test_closing_forgets_what_was_not_prepared(kind: type[FolderSink], tmp_path: Path, context: Contexts) -> None:
    writer = kind("sink", str(tmp_path), roll_rows=1).open(context())
    writer.write(FRAME)
    writer.close()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_an_earlier_attempt_go_and_files_of_others_stay(
    kind: type[FolderSink], tmp_path: Path, context: Contexts
) -> None:
    sink = kind("sink", str(tmp_path))
    crashed = sink.open(context(attempt=0))
    crashed.write(FRAME)
    committed = crashed.prepare(1)
    crashed.write(FRAME)
    crashed.prepare(2)
    other_job = sink.open(context(attempt=0, job="2"))
    other_job.write(FRAME)
    others = other_job.prepare(1)
    (tmp_path / ".mine.tmp").write_text("a user's")
    writer = sink.open(context(attempt=1, restored=1))
    writer.commit(committed)
    writer.write(FRAME)
    writer.commit(writer.prepare(2))
    assert numbers(kind, tmp_path) == [1, 1, 2, 2, 3, 3]
    assert [path.name for path in hidden(tmp_path)] == sorted([".mine.tmp", others[-1][0]])
    other_job.commit(others)
    assert len(numbers(kind, tmp_path)) == 9


def test_without_checkpoints_full_files_are_shown_and_the_rest_at_the_end(
    kind: type[FolderSink], tmp_path: Path, context: Contexts
) -> None:
    writer = kind("sink", str(tmp_path), roll_rows=4).open(context(checkpoints=False))
    writer.write(FRAME)
    assert visible(tmp_path) == []
    writer.write(FRAME)
    assert len(numbers(kind, tmp_path)) == 6
    writer.write(FRAME)
    writer.commit(writer.prepare(0))
    writer.close()
    assert len(numbers(kind, tmp_path)) == 9
    assert hidden(tmp_path) == []


def test_without_checkpoints_a_file_that_is_old_enough_is_shown(
    kind: type[FolderSink], tmp_path: Path, context: Contexts
) -> None:
    writer = kind("sink", str(tmp_path), roll_age_us=1).open(context(checkpoints=False))
    writer.write(FRAME)
    for _ in range(1_000_000):
        writer.flush()
        if visible(tmp_path):
            break
    assert numbers(kind, tmp_path) == [1, 2, 3]


def test_a_lost_transaction_is_an_error(kind: type[FolderSink], tmp_path: Path, context: Contexts) -> None:
    writer = kind("sink", str(tmp_path)).open(context())
    writer.write(FRAME)
    pending = writer.prepare(1)
    for path in hidden(tmp_path):
        path.unlink()
    with pytest.raises(SinkError, match="is gone"):
        writer.commit(pending)


def test_files_that_a_reader_takes_away_are_not_missed(
    kind: type[FolderSink], tmp_path: Path, context: Contexts
) -> None:
    sink = kind("sink", str(tmp_path), roll_rows=3)
    writer = sink.open(context())
    writer.write(FRAME)
    writer.write(FRAME)
    pending = writer.prepare(1)
    writer.commit(pending)
    visible(tmp_path)[0].unlink()
    for job in ("1", "from a savepoint of it"):
        sink.open(context(attempt=1, job=job, restored=1)).commit(pending)
    assert numbers(kind, tmp_path) == [1, 2, 3]
    with pytest.raises(SinkError, match="from the beginning"):
        sink.open(context(attempt=2))


def test_a_commit_that_was_torn_goes_on_though_readers_were_quick(
    kind: type[FolderSink], tmp_path: Path, context: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = kind("sink", str(tmp_path), roll_rows=3)
    writer = sink.open(context())
    writer.write(FRAME)
    writer.write(FRAME)
    pending = writer.prepare(1)
    with monkeypatch.context() as patch:
        rename = os.replace

        def once(source: str, to: str) -> None:
            if str(source).startswith(str(tmp_path)):
                patch.setattr(os, "replace", fail)
            rename(source, to)

        def fail(source: str, to: str) -> None:
            raise KeyboardInterrupt

        patch.setattr(os, "replace", once)
        with pytest.raises(KeyboardInterrupt):
            writer.commit(pending)
    (shown,) = visible(tmp_path)
    shown.unlink()
    sink.open(context(attempt=1, restored=1)).commit(pending)
    assert numbers(kind, tmp_path) == [1, 2, 3]
