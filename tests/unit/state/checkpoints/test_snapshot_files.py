"""Snapshots to files and back: as they were, and what did not change is neither encoded nor hashed again."""

from __future__ import annotations

import polars as pl
import pytest
from checkpoint_kit import DictBlobs, manifest_of

from streamlab.core.errors import CheckpointError
from streamlab.state.checkpoints import state_files as state_files_module
from streamlab.state.checkpoints.contents import file_name
from streamlab.state.checkpoints.manifest import FORMAT
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.snapshots import SnapshotWriter, read_snapshot
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.state.snapshot import Snapshot, groups_of, regroup

ONE, TWO, THREE = (pl.DataFrame({"key": [f"k{number}"], "n": [number]}) for number in range(3))


@pytest.fixture
def encoded(monkeypatch) -> list[pl.DataFrame]:
    """Return the frames that were encoded, as they come."""
    seen: list[pl.DataFrame] = []
    real = state_files_module._encode
    monkeypatch.setattr(state_files_module, "_encode", lambda frame, how: (seen.append(frame), real(frame, how))[1])
    return seen


@pytest.mark.parametrize(
    "snapshot",
    [
        Snapshot(),
        Snapshot({"panes": (ONE, TWO, ONE), "empty": (), "none": (ONE.clear(),)}, {"watermark": -5}, ("key",)),
        Snapshot({}, {"a": None, "b": True, "c": 1.5, "d": "text", "e": 2**62}, ()),
        Snapshot({"panes": (pl.DataFrame({"f": [float("nan"), None, -0.0]}),)}),
    ],
)
def test_a_snapshot_comes_back(snapshot):
    files = StateFiles(DictBlobs())
    stored, _ = SnapshotWriter(files).write(snapshot)
    read = read_snapshot(stored, files, FORMAT)
    assert (dict(read.values), read.key_columns) == (dict(snapshot.values), snapshot.key_columns)
    assert read.keyed.keys() == snapshot.keyed.keys()
    for name, frames in snapshot.keyed.items():
        assert len(read.keyed[name]) == len(frames)
        assert all(a.equals(b) and a.schema == b.schema for a, b in zip(read.keyed[name], frames, strict=True))


def test_what_did_not_change_is_not_looked_at_again(encoded):
    files = StateFiles(DictBlobs())
    writer = SnapshotWriter(files)
    first, first_bytes = writer.write(Snapshot({"panes": (ONE, TWO)}))
    assert first_bytes == sum(file.size_bytes for file in first.keyed["panes"])
    assert writer.write(Snapshot({"panes": (ONE, TWO)})) == (first, 0)
    second, second_bytes = writer.write(Snapshot({"panes": (TWO, THREE)}))
    assert second_bytes == second.keyed["panes"][1].size_bytes
    assert [id(frame) for frame in encoded] == [id(ONE), id(TWO), id(THREE)]


def test_frames_of_the_complete_checkpoint_stay_known_and_no_others(encoded):
    blobs = DictBlobs()
    writer = SnapshotWriter(StateFiles(blobs))
    complete, _ = writer.write(Snapshot({"panes": (ONE,)}))
    abandoned, _ = writer.write(Snapshot({"panes": (ONE, TWO)}))
    manifest = manifest_of(1, *complete.keyed["panes"])
    ManifestStore(blobs).put(manifest)
    writer.forget_except(manifest.files)
    assert ManifestStore(blobs).collect_garbage() == [file_name(abandoned.keyed["panes"][1])]
    encoded.clear()
    stored, new_bytes = writer.write(Snapshot({"panes": (ONE, TWO)}))
    assert [id(frame) for frame in encoded] == [id(TWO)]
    assert new_bytes == stored.keyed["panes"][1].size_bytes
    assert stored == abandoned
    assert read_snapshot(stored, StateFiles(blobs), FORMAT).keyed["panes"][1].equals(TWO)


def test_a_frame_in_the_place_of_a_forgotten_one_is_not_taken_for_it():
    blobs = DictBlobs()
    files = StateFiles(blobs)
    writer = SnapshotWriter(files)
    for number in range(60):
        stored, _ = writer.write(Snapshot({"panes": (pl.DataFrame({"n": [number]}),)}))
        assert read_snapshot(stored, files, FORMAT).keyed["panes"][0]["n"].to_list() == [number]
        if number % 3 == 0:
            writer.forget_except(frozenset())


def test_a_frame_that_is_named_twice_is_read_once():
    blobs = DictBlobs()
    files = StateFiles(blobs)
    stored, _ = SnapshotWriter(files).write(Snapshot({"panes": (ONE, ONE), "more": (ONE,)}))
    read: list[str] = []
    blobs.before = lambda operation, name: read.append(name) if operation == "get" else None
    read_snapshot(stored, files, FORMAT)
    assert len(read) == 1


def test_a_damaged_file_is_named():
    blobs = DictBlobs()
    files = StateFiles(blobs)
    stored, _ = SnapshotWriter(files).write(Snapshot({"panes": (ONE, TWO)}))
    name = file_name(stored.keyed["panes"][1])
    blobs.data[name] = blobs.data[name][:-1] + b"?"
    with pytest.raises(CheckpointError, match=name):
        read_snapshot(stored, files, FORMAT)


LARGE = pl.DataFrame({"key": pl.int_range(100_000, eager=True) % 9_973, "n": pl.int_range(100_000, eager=True)}).select(
    "key", "n", text=pl.format("row {}", "n")
)


@pytest.fixture
def read_files(monkeypatch) -> list[str]:
    """Return the names of the files that were read, as they come."""
    seen: list[str] = []
    real = StateFiles.get
    monkeypatch.setattr(StateFiles, "get", lambda self, stored: (seen.append(stored.sha256), real(self, stored))[1])
    return seen


@pytest.mark.parametrize("parallelism", [1, 2, 3, 8, 16, 128])
def test_a_subtask_reads_the_files_of_its_own_key_groups(parallelism: int, read_files: list[str]) -> None:
    files = StateFiles(DictBlobs())
    stored, written = SnapshotWriter(files).write(Snapshot({"rows": (LARGE, ONE)}, {"watermark": 7}, ("key",)))
    *parts, small = stored.keyed["rows"]
    assert [(part.first_group, part.end_group) for part in parts] == [(at, at + 8) for at in range(0, 128, 8)]
    assert (small.first_group, small.end_group) == (0, 0)
    assert written == sum(file.size_bytes for file in stored.keyed["rows"])
    assert sum(part.size_bytes for part in parts) < 1.5 * LARGE.estimated_size() + 16 * 2_000
    found, large_reads = [], 0
    for subtask in range(parallelism):
        read_files.clear()
        read = read_snapshot(stored, files, FORMAT, groups_of(subtask, parallelism))
        large_reads += sum(name != small.sha256 for name in read_files)
        own = regroup([read], subtask, parallelism)
        assert own.values == {"watermark": 7}
        found += [frame for frame in own.keyed["rows"] if "text" in frame.columns]
    assert large_reads == max(16, parallelism) or (parallelism == 3 and large_reads == 18)
    rows = pl.concat(found)
    assert rows.sort("n").equals(LARGE)
    # Rows of one key stay in their order.
    assert rows.select((pl.col("n").diff() > 0).over("key").all()).item()


def test_a_large_frame_that_did_not_change_is_not_looked_at_again(encoded: list[pl.DataFrame]) -> None:
    writer = SnapshotWriter(StateFiles(DictBlobs()))
    first, _ = writer.write(Snapshot({"rows": (LARGE,)}, {}, ("key",)))
    writer.forget_except(frozenset(first.keyed["rows"]))
    encoded.clear()
    assert writer.write(Snapshot({"rows": (LARGE,)}, {}, ("key",))) == (first, 0)
    assert encoded == []
