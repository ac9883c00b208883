"""Files that are read on as they grow: each whole record once, whatever is renamed, emptied or restarted meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reading import Run

import streamlab as sl
from streamlab.connectors.files.files import FileSource, scan_csv, scan_ndjson, scan_parquet
from streamlab.connectors.reading.reader import SourceReader
from streamlab.core.errors import OptionError

SCHEMA = {"n": pl.Int64, "word": pl.String}


def source(path: Path, **options: Any) -> FileSource:
    return scan_csv(path, **{"schema": SCHEMA, "follow": "append", **options})


def add(path: Path, *numbers: int, rest: str = "") -> None:
    is_new = not path.exists() or not path.stat().st_size
    with path.open("a") as file:
        file.write(("n,word\n" if is_new else "") + "".join(f"{n},w{n}\n" for n in numbers) + rest)


def advance(run: Run, seconds: float) -> None:
    for _ in range(int(seconds * 4)):
        run.poll(run.now_us + 250_000)


def numbers(run: Run) -> list[int]:
    return run.rows.get_column("n").to_list()


RUNS: list[Run] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while RUNS:
        RUNS.pop().reader.close()


def begun(follows: FileSource, **options: Any) -> Run:
    RUNS.append(Run(follows, **options))
    return RUNS[-1]


def restarted(run: Run) -> Run:
    """Go on from a checkpoint of a reader in what stands for another process."""
    again = Run.__new__(Run)
    again.source = source(Path(run.source.paths[0]))
    known = run.reader.snapshot()
    run.reader.close()
    again.reader = SourceReader(again.source, list(known.found or ()), snapshot=known)
    again.now_us, again.messages = run.now_us, list(run.messages)
    RUNS.append(again)
    return again


def test_what_is_added_is_read_once_in_whole_records(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    add(log, 1, 2, rest="3,w")
    run = begun(source(log))
    assert not run.source.bounded
    advance(run, 1)
    assert numbers(run) == [1, 2]
    add(log, rest="3\n4,w4\n")
    advance(run, 1)
    assert numbers(run) == [1, 2, 3, 4]
    run = restarted(run)
    add(log, 5)
    advance(run, 1)
    assert numbers(run) == [1, 2, 3, 4, 5]
    assert run.reasons == []


def test_a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_start(tmp_path: Path) -> None:
    log, old = tmp_path / "app.csv", tmp_path / "app.csv.1"
    add(log, 1)
    run = begun(source(log))
    advance(run, 1)
    add(log, 2)
    log.rename(old)
    add(old, 3)
    add(log, 4)
    advance(run, 1)
    add(old, 5, rest="6,w6")
    advance(run, 20)
    assert sorted(numbers(run)) == [1, 2, 3, 4, 5, 6], "the last line needs no end"
    assert len(run.reader.snapshot().found) == 1, "the renamed one has ended"
    add(log, 7)
    log.rename(tmp_path / "app.csv.2")
    advance(run, 20)
    assert sorted(numbers(run)) == [1, 2, 3, 4, 5, 6, 7]
    assert run.reasons == []


@pytest.mark.parametrize("is_down", [False, True])
def test_two_renames_between_two_looks_lose_nothing(tmp_path: Path, *, is_down: bool) -> None:
    log = tmp_path / "app.csv"
    add(tmp_path / "app.csv.9", 99)
    add(log, 1)
    run = begun(source(log))
    advance(run, 1)
    before = run.reader.snapshot() if is_down else None
    add(log, 2)
    log.rename(tmp_path / "app.csv.2")
    add(log, 3)
    log.rename(tmp_path / "app.csv.1")
    add(log, 4)
    run = restarted(run) if before else run
    advance(run, 20)
    assert sorted(numbers(run)) == [1, 2, 3, 4], "what stood behind it when the stream was made is left alone"
    run = restarted(run)
    advance(run, 20)
    assert sorted(numbers(run)) == [1, 2, 3, 4]
    assert run.reasons == []


@pytest.mark.parametrize("is_down", [False, True])
@pytest.mark.parametrize("more", [1, 50])
def test_an_emptied_file_is_said_and_read_from_its_start(tmp_path: Path, more: int, *, is_down: bool) -> None:
    log = tmp_path / "app.csv"
    add(log, *range(100, 110))
    run = begun(source(log))
    advance(run, 1)
    run = restarted(run) if is_down else run
    log.write_text("")
    add(log, *range(more))
    advance(run, 1)
    assert numbers(run) == [*range(100, 110), *range(more)]
    assert ["emptied" in reason for reason in run.reasons] == [True]
    run = restarted(run)
    add(log, 77)
    advance(run, 1)
    assert numbers(run)[-1] == 77
    assert len(run.reasons) == 1


def test_a_file_that_is_gone_after_a_restart_is_said(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    add(log, 1)
    run = begun(source(log))
    advance(run, 1)
    run = restarted(run)
    keep = log.rename(tmp_path / "elsewhere")
    add(log, 2)
    keep.rename(tmp_path.parent / "elsewhere")
    advance(run, 1)
    assert numbers(run) == [1, 2]
    assert ["not there any more" in reason for reason in run.reasons] == [True]


def test_a_deleted_file_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    add(log, 1)
    run = begun(source(log))
    advance(run, 1)
    add(log, 2)
    log.unlink()
    advance(run, 20)
    assert numbers(run) == [1, 2]
    add(log, 3)
    advance(run, 20)
    assert numbers(run) == [1, 2, 3]
    assert run.reasons == []


def test_what_grows_after_its_end_is_said(tmp_path: Path) -> None:
    log, old = tmp_path / "app.csv", tmp_path / "app.csv.1"
    add(log, 1)
    run = begun(source(log))
    advance(run, 1)
    log.rename(old)
    advance(run, 20)
    add(old, 2)
    advance(run, 20)
    assert numbers(run) == [1]
    assert ["grew after it was read" in reason for reason in run.reasons] == [True]


def test_a_name_that_rotation_gives_to_another_file_is_no_change(tmp_path: Path) -> None:
    log, old, older = (tmp_path / name for name in ("app.csv", "app.csv.1", "app.csv.2"))
    add(log, 1)
    run = begun(source(log))
    advance(run, 1)
    log.rename(old)
    add(log, 2)
    advance(run, 20)
    old.rename(older)
    log.rename(old)
    add(log, 3)
    advance(run, 20)
    assert numbers(run) == [1, 2, 3]
    assert run.reasons == []


def test_bad_lines_are_told_once_and_a_quote_that_stays_open_holds_nothing_up(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    add(log, 1, rest="x,w\n2,w2\n")
    run = begun(source(log), batch_rows=1)
    advance(run, 1)
    run = restarted(run)
    add(log, rest='3,"open\n4,w4\n')
    advance(run, 20)
    add(log, 5)
    advance(run, 1)
    assert [n for n in numbers(run) if n != 3] == [1, 2, 4, 5]
    assert run.letters.get_column("input").to_list()[0] == "x,w"
    assert run.letters.height == 2


def test_folders_and_json(tmp_path: Path) -> None:
    one = tmp_path / "a.ndjson"
    one.write_text('{"n": 1}\n')
    run = begun(scan_ndjson(tmp_path, follow="append"))
    advance(run, 1)
    (tmp_path / "b.ndjson").write_text('{"n": 2}\n')
    with one.open("a") as file:
        file.write('{"n": 3}\n')
    advance(run, 1)
    assert sorted(numbers(run)) == [1, 2, 3]


def test_the_path_stands_beside_the_rows(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    add(log, 1)
    run = begun(source(log, include_file_paths="from"))
    advance(run, 1)
    assert run.rows.rows() == [(1, "w1", str(log))]


def test_formats_without_lines_refuse(tmp_path: Path) -> None:
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(OptionError, match="a format of lines"):
        scan_parquet(tmp_path, follow="append")
    with pytest.raises(OptionError, match="True, False or 'append'"):
        scan_parquet(tmp_path, follow="yes")


def test_a_job_goes_on_where_it_was(tmp_path: Path) -> None:
    log = tmp_path / "app.csv"
    add(log, 1, 2)
    logs = sl.scan_csv(log, schema=SCHEMA, follow="append")
    assert "read on as they grow" in logs.explain()
    first = logs.start("logged", parallelism=1)
    while first.results().height < 2:
        first.status  # noqa: B018 - it has to come
    first.stop()
    add(log, 3)
    os.rename(log, f"{log}.1")
    add(log, 4)
    second = logs.start("logged", parallelism=1, from_savepoint=first.checkpoints[-1])
    while second.results().height < 2:
        second.status  # noqa: B018
    second.stop()
    assert second.results()["n"].sort().to_list() == [3, 4]
    assert second.dead_letters().is_empty()
