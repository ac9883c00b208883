"""Checkpoints for tests: small manifests, a store in a dict, and the laws that every store keeps."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from streamlab.core.errors import CheckpointError
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.manifest import Manifest, StoredFrame, StoredState, TaskState
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.state_files import StateFiles


class DictBlobs(Blobs):
    """Bytes in a dict; `before` is called with each operation and its name, before it is done."""

    where = "a dict"
    is_remote = False

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.before: Callable[[str, str], None] = lambda operation, name: None

    def put(self, name: str, data: bytes | memoryview) -> None:
        self.before("put", name)
        self.data[name] = bytes(data)

    def create(self, name: str, data: bytes | memoryview) -> bool:
        self.before("create", name)
        if name in self.data:
            return False
        self.data[name] = bytes(data)
        return True

    def get(self, name: str) -> bytes:
        self.before("get", name)
        if name not in self.data:
            message = f"no {name}"
            raise CheckpointError(message, file=name, matter="missing")
        return self.data[name]

    def size(self, name: str) -> int | None:
        self.before("size", name)
        return len(self.data[name]) if name in self.data else None

    def has(self, name: str, size_bytes: int) -> bool:
        return self.size(name) == size_bytes

    def delete(self, name: str) -> None:
        self.before("delete", name)
        self.data.pop(name, None)

    def sizes(self, folder: str) -> dict[str, int]:
        self.before("sizes", folder)
        return {name: len(data) for name, data in self.data.items() if name.startswith(folder + "/")}

    def sweep(self, folder: str) -> None:
        self.before("sweep", folder)


def manifest_of(checkpoint_id: int, *files: StoredFrame, **changed: object) -> Manifest:
    """Return a manifest of one task whose state is these files."""
    task = TaskState("window", 0, operators={"hourly": StoredState({"panes": files}, {"watermark": 5}, ("key",))})
    fields = {
        "polars": pl.__version__,
        "job": "flights",
        "id": checkpoint_id,
        "attempt": 1,
        "fingerprint": "f",
        "parallelism": {"window": 1},
        "splits": {},
        "tasks": (task,),
        "triggered_us": 1,
        "completed_us": 2,
    }
    return Manifest(**(fields | changed))


def publish(blobs: Blobs, checkpoint_id: int, *frames: pl.DataFrame, **changed: object) -> Manifest:
    """Store the frames and publish a checkpoint that names them."""
    files = StateFiles(blobs)
    manifest = manifest_of(checkpoint_id, *(files.put(frame)[0] for frame in frames), **changed)
    ManifestStore(blobs).put(manifest)
    return manifest


def newest_whole(blobs: Blobs) -> Manifest | None:
    """Return the newest checkpoint of which every byte is as it was written."""
    store = ManifestStore(blobs)
    for _, found in store.newest_first():
        if isinstance(found, Manifest):
            try:
                store.verify(found)
            except CheckpointError:
                continue
            return found
    return None


def check_blobs(blobs: Blobs) -> None:
    """Check what every store promises; it must be empty."""
    assert blobs.names("state") == []
    assert blobs.size("state/a") is None
    assert not blobs.has("state/a", 0)
    blobs.delete("state/a")
    with pytest.raises(CheckpointError, match="state/a") as missing:
        blobs.get("state/a")
    assert (missing.value.file, missing.value.matter) == ("state/a", "missing")

    big = bytes(range(256)) * 4096
    blobs.put("state/a", b"one")
    blobs.put("state/b", memoryview(big))
    blobs.put("state/empty", b"")
    blobs.put("checkpoints/0001/manifest.json", b"{}")
    assert (blobs.get("state/a"), blobs.get("state/b"), blobs.get("state/empty")) == (b"one", big, b"")
    assert (blobs.size("state/b"), blobs.size("state/empty"), blobs.size("state")) == (len(big), 0, None)
    assert blobs.has("state/a", 3)
    assert not blobs.has("state/a", 4)
    assert blobs.sizes("state") == {"state/a": 3, "state/b": len(big), "state/empty": 0}
    assert blobs.names("checkpoints") == ["checkpoints/0001/manifest.json"]

    blobs.put("state/a", b"another")
    assert blobs.get("state/a") == b"another"
    assert not blobs.create("state/a", b"third")
    assert blobs.get("state/a") == b"another"
    assert blobs.create("state/c", b"new")
    assert blobs.get("state/c") == b"new"

    blobs.delete("state/a")
    assert blobs.size("state/a") is None
    assert blobs.names("state") == ["state/b", "state/c", "state/empty"]
    assert blobs.create("state/a", b"again")
    blobs.sweep("state")
    assert blobs.names("state") == ["state/a", "state/b", "state/c", "state/empty"]


def check_whole_round(blobs: Blobs) -> None:
    """Check that checkpoints are written, retained, collected and read in a store, which must be empty."""
    frames = [pl.DataFrame({"key": ["a", None], "n": [k, None]}) for k in range(5)]
    for number in range(1, 5):
        publish(blobs, number, frames[number], frames[0])
    store = ManifestStore(blobs)
    with store.pin(1) as pinned:
        assert store.retain(2) == [2]
        assert len(store.collect_garbage()) == 1
        store.verify(pinned)
    assert store.retain(2) == [1]
    assert len(store.collect_garbage()) == 1
    assert store.ids() == [3, 4]
    assert [StateFiles(blobs).get(file).rows() for file in sorted(store.get(4).files, key=lambda f: f.sha256)] == [
        frame.rows() for frame in sorted((frames[4], frames[0]), key=lambda f: StateFiles(blobs).put(f)[0].sha256)
    ]
    assert newest_whole(blobs) == store.get(4)
    assert blobs.names("pins") == []
