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
from streamlab.state.snapshot import Snapshot

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
