"""Folders that are watched for new files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reading import Run

from streamlab.connectors.contracts.source import Split
from streamlab.connectors.files.files import FileSource, scan_csv
from streamlab.connectors.reading.progress import ReaderSnapshot, SplitProgress
from streamlab.connectors.reading.reader import SourceReader
from streamlab.core.messages import Batch, Idle, Watermark

SCHEMA = {"at": pl.Datetime("us"), "n": pl.Int64}
SECOND_US = 1_000_000


def follow(folder: Path, **options: Any) -> FileSource:
    return scan_csv(folder, schema=SCHEMA, follow=True, event_time="at", watermark="0s", **options)


def put(folder: Path, name: str, second: int, *, mtime_us: int = 10**15) -> Path:
    path = folder / name
    path.write_text(f"at,n\n1970-01-01 00:00:{second:02},{second}\n")
    os.utime(path, ns=(mtime_us * 1000, mtime_us * 1000))
    return path


def advance(run: Run, seconds: float) -> None:
    for _ in range(int(seconds * 10)):
        run.poll(run.now_us + 100_000)


def test_new_files_are_read_whole_and_once(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 1)
    run = Run(follow(tmp_path))
    assert not run.source.bounded
    advance(run, 2)
    assert run.rows.get_column("n").to_list() == [1]
    put(tmp_path, "b.csv", 2)
    put(tmp_path, "c.csv", 3)
    for hidden in (".d.csv", "_d.csv", "d.csv.tmp", "d.csv.crdownload"):
        put(tmp_path, hidden, 9)
    advance(run, 2)
    assert run.rows.get_column("n").to_list() == [1, 2, 3]
    assert run.messages[-1] == Watermark(3 * SECOND_US - 1)
    advance(run, 2)
    assert run.rows.height == 3


def test_a_folder_may_be_away_for_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    put(folder, "a.csv", 1)
    run = Run(follow(folder))
    advance(run, 2)
    folder.rename(tmp_path / "away")
    advance(run, 2)
    (tmp_path / "away").rename(folder)
    put(folder, "b.csv", 2)
    advance(run, 2)
    assert run.rows.get_column("n").to_list() == [1, 2]
    assert run.reasons == []


def test_a_growing_file_is_not_read_half(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", 1)
    run = Run(follow(tmp_path))
    for at in range(5):
        run.poll(run.now_us + 400_000)
        with path.open("a") as file:
            file.write(f"1970-01-01 00:00:02,{at}\n")
    assert run.rows.is_empty()
    advance(run, 1)
    assert run.rows.get_column("n").to_list() == [1, 0, 1, 2, 3, 4]


def test_an_old_file_needs_no_second_look(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 1, mtime_us=0)
    run = Run(follow(tmp_path))
    run.poll(60 * SECOND_US)
    assert run.rows.height == 1


def test_an_empty_folder_waits_without_a_watermark(tmp_path: Path) -> None:
    run = Run(follow(tmp_path))
    advance(run, 5)
    assert run.messages == []
    wish = run.reader.wakeup_us(run.now_us)
    assert wish is not None
    assert run.now_us < wish <= run.now_us + 250_000


def test_an_idle_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 1, mtime_us=0)
    run = Run(follow(tmp_path, idle_timeout="3s"))
    run.poll(60 * SECOND_US)
    advance(run, 2)
    assert Idle() not in run.messages
    advance(run, 2)
    assert run.messages[-1] == Idle()
    put(tmp_path, "b.csv", 2, mtime_us=0)
    advance(run, 1)
    assert isinstance(run.messages[-2], Batch)
    assert run.messages[-1] == Watermark(2 * SECOND_US - 1)


def test_a_restart_does_not_read_files_again(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 1)
    run = Run(follow(tmp_path))
    advance(run, 2)
    put(tmp_path, "b.csv", 2)
    again = Run(follow(tmp_path), snapshot=run.reader.snapshot())
    advance(again, 2)
    assert again.rows.get_column("n").to_list() == [2]


def test_a_subtask_without_files_holds_nobody_back(tmp_path: Path) -> None:
    source = follow(tmp_path)
    assert source.max_parallelism == 1
    reader = SourceReader(source, [], 1, 2)
    assert reader.poll(0) == [Idle()]


def test_stopping_ends_the_stream(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 1)
    run = Run(follow(tmp_path))
    run.poll(0)
    assert [type(message).__name__ for message in run.reader.stop(0)] == ["Watermark", "End"]
    assert run.reader.poll(1) == []


def test_following_needs_a_schema_when_there_is_nothing_yet(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="schema"):
        scan_csv(tmp_path, follow=True)


def test_what_an_earlier_version_found_after_the_start_is_read_on(tmp_path: Path) -> None:
    """Its checkpoints listed the splits of the start, and knew others by their progress only."""
    paths = [
        put(tmp_path, name, second, mtime_us=0) for second, name in enumerate(("a.csv", "b.csv", "c.csv"), start=1)
    ]
    with paths[1].open("a") as file:
        file.write("1970-01-01 00:00:05,5\n")
    os.utime(paths[1], ns=(0, 0))
    begun = {
        str(paths[0]): SplitProgress(0, 0, SECOND_US - 1, finished=True, rows=1),
        str(paths[1]): SplitProgress(0, 1, 2 * SECOND_US - 1, finished=False, rows=1),
    }
    snapshot = ReaderSnapshot(begun, SECOND_US - 1, 2 * SECOND_US)
    reader = SourceReader(follow(tmp_path), [Split(str(paths[0]))], snapshot=snapshot)
    rows = [m.collected()["n"].to_list() for m in reader.poll(60 * SECOND_US) if isinstance(m, Batch)]
    assert sorted(n for some in rows for n in some) == [3, 5]


@pytest.mark.parametrize("how", ["grew", "replaced"])
def test_a_file_that_changes_after_it_was_read_is_said_to_have_done_so_once(how: str, tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", 1)
    put(tmp_path, "b.csv", 2)
    run = Run(follow(tmp_path))
    advance(run, 2)
    for _ in range(2):
        if how == "grew":
            with path.open("a") as file:
                file.write("1970-01-01 00:00:03,3\n")
        else:
            put(tmp_path, "a.new", 3).rename(path)
        advance(run, 2)

    assert run.rows.get_column("n").to_list() == [1, 2]
    assert [reason.split(",")[0] for reason in run.reasons] == [
        f"it {'was replaced' if how == 'replaced' else how} after it was read"
    ]
    assert run.letters.item(0, "origin") == str(path)
    assert run.reader.watermark_us == 2 * SECOND_US - 1

    again = Run(run.source, snapshot=run.reader.snapshot())
    advance(again, 2)
    assert again.messages == [] or not again.letters.height
    put(tmp_path, "b.new", 4).rename(tmp_path / "b.csv")
    advance(again, 2)
    assert again.letters["origin"].to_list() == [str(tmp_path / "b.csv")]


def test_a_file_that_is_deleted_after_it_was_read_is_no_loss(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", 1)
    run = Run(follow(tmp_path))
    advance(run, 2)
    path.unlink()
    advance(run, 2)
    assert run.reasons == []
