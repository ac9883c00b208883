"""Recordings and savepoints of another user of the machine: read as data, said once, and never waited for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl
import pytest

import streamlab as sl
from streamlab.connectors.files import paths
from streamlab.connectors.recording.recording import scan_recording
from streamlab.connectors.recording.recording_notes import NOTES, SCHEMA, SPLIT, split_folder, write_notes, write_split
from streamlab.connectors.recording.recording_writer import LogWriter
from streamlab.connectors.sources.sockets import socket
from streamlab.core.errors import SourceError, StreamlabError
from streamlab.state.checkpoints.blobs import open_blobs
from streamlab.state.checkpoints.manifest import StoredState
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.state_files import StateFiles

STRANGER = 4242
ROWS = pl.DataFrame({"n": [1, 2, 3]})

root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture(autouse=True)
def nobody_was_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "_strange", set())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "recording"
    source = socket("localhost", 9, schema={"n": pl.Int64})
    write_notes(made, source)
    write_split(split_folder(made, "s"), "s")
    write(made, ROWS)
    return made


def write(folder: Path, rows: pl.DataFrame, letters: pl.DataFrame | None = None) -> None:
    writer = LogWriter.acquire(split_folder(folder, "s"), limit_bytes=2**30, limit_us=None)
    assert writer is not None
    writer.append(rows, letters, writer.end.records, 0)
    writer.close()


def give_away(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, STRANGER, STRANGER)


def read(folder: Path) -> list[int]:
    return sorted(sl.scan_recording(folder).collect()["n"])


@root
def test_the_recording_of_somebody_else_is_read_and_said_once(folder: Path) -> None:
    give_away(folder)
    with pytest.warns(UserWarning, match=f"is not yours, it belongs to user {STRANGER}: it is read as data"):
        assert read(folder) == [1, 2, 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(folder) == [1, 2, 3]


def test_one_s_own_is_read_without_a_word(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(folder) == [1, 2, 3]


@pytest.mark.parametrize("name", [NOTES, SCHEMA, f"s/{SPLIT}", "s/000000000000.records"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "nothing", "other bytes"])
def test_what_stands_in_a_file_s_place_is_named_and_not_waited_for(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "other bytes":
        path.write_bytes(bytes(255 - byte for byte in data))
    if kind == "nothing" and name.startswith("s/"):
        assert _all_of(folder) == 0  # so it is a recording of nothing
        return
    with pytest.raises(StreamlabError, match=str(folder)):
        _all_of(folder)


def _all_of(folder: Path) -> int:
    source, rows = scan_recording(folder), 0
    for split in source.splits():
        reader = source.open(split, 0)
        while not reader.done and (taken := reader.read(100, 0)) is not None:
            rows += taken.rows
        reader.close()
    return rows


@pytest.mark.parametrize(
    ("rows", "letters", "said"),
    [
        (pl.DataFrame({"n": ["x"]}), None, "column 'n' is String, not Int64"),
        (pl.DataFrame({"m": [1]}), None, "column 'n' is missing"),
        (ROWS.with_columns(more=1), None, "column 'more' is new"),
        (ROWS, pl.DataFrame({"x": [1]}), "other rows than it says"),
    ],
)
def test_records_with_other_columns_are_refused(
    folder: Path, rows: pl.DataFrame, letters: pl.DataFrame | None, said: str
) -> None:
    write(folder, rows, letters)
    with pytest.raises(SourceError, match=f"record 1 with others: {said}"):
        _all_of(folder)


def test_a_schema_that_is_none_of_a_table_is_refused(folder: Path) -> None:
    body = BytesIO()
    pl.DataFrame({"__row_kind": [1]}).write_ipc_stream(body)
    (folder / SCHEMA).write_bytes(body.getvalue())
    with pytest.raises(sl.PlanError, match="__row_kind"):
        sl.scan_recording(folder)


@root
def test_a_savepoint_of_somebody_else_is_gone_on_from_and_said(tmp_path: Path) -> None:
    for number in range(2):
        ROWS.with_columns(n=pl.col("n") + 10 * number).write_parquet(tmp_path / f"{number}.parquet")
    query = sl.scan_parquet(tmp_path, follow=True).group_by((pl.col("n") % 2).alias("k")).agg(pl.col("n").sum())
    job = query.start()
    place = tmp_path / "saved"
    job.stop(savepoint=place)
    give_away(place)
    with pytest.warns(UserWarning, match=f"from_savepoint: .*saved is not yours, it belongs to user {STRANGER}"):
        other = query.start(from_savepoint=place)
    try:
        other.checkpoint()
        assert other.status == "running"
    finally:
        other.cancel()


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_stands_in_a_savepoint_s_place_is_named_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "0.parquet")
    query = sl.scan_parquet(tmp_path, follow=True).select(pl.col("n").sum())
    job = query.start()
    place = tmp_path / "saved"
    job.stop(savepoint=place)
    for path in sorted(found for found in place.rglob("*") if found.is_file()):
        data = path.read_bytes()
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "link":
            path.symlink_to("/etc/passwd")
        else:
            path.mkdir()
        with pytest.raises(StreamlabError, match="saved"):
            query.start(from_savepoint=place)
        os.rmdir(path) if kind == "folder" else path.unlink()
        path.write_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.drop(state.columns[-1]),
        lambda state: state.with_columns(pl.lit(None).alias(state.columns[-1])),
    ],
    ids=["a column is missing", "a column is of another dtype"],
)
def test_state_with_other_columns_is_refused_with_a_sentence(
    change: Callable[[pl.DataFrame], pl.DataFrame], tmp_path: Path
) -> None:
    ROWS.write_parquet(tmp_path / "0.parquet")
    query = sl.scan_parquet(tmp_path, follow=True).group_by((pl.col("n") % 2).alias("k")).agg(pl.col("n").sum())
    job = query.start()
    while job.results().height < 2:
        job.wait(0.05)
    job.stop(savepoint=tmp_path / "saved")
    forge(tmp_path / "saved", tmp_path / "forged", change)
    job = query.start(from_savepoint=tmp_path / "forged", max_restarts=1)
    with pytest.raises(sl.CheckpointError, match=r"from_savepoint: needs the state of 'group_by .*', got something"):
        job.wait(60)


def forge(place: Path, other: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Write a savepoint like another one, whose state has other columns; all of its hashes are right."""
    source, target = open_blobs(place), open_blobs(other)
    store = ManifestStore(source)
    manifest = store.get(store.ids()[-1])

    def changed(state: StoredState) -> StoredState:
        frames = {
            name: tuple(StateFiles(target).put(change(StateFiles(source).get(frame)))[0] for frame in parts)
            for name, parts in state.keyed.items()
        }
        return msgspec.structs.replace(state, keyed=frames)

    tasks = tuple(
        msgspec.structs.replace(task, operators={name: changed(state) for name, state in task.operators.items()})
        for task in manifest.tasks
    )
    ManifestStore(target).put(msgspec.structs.replace(manifest, tasks=tasks))
