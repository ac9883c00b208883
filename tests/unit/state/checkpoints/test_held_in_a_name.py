"""A checkpoint that is held in a job's name: by its client, then by its coordinators with their guardians."""

from __future__ import annotations

import polars as pl
import pytest
from checkpoint_kit import DictBlobs, publish

from streamlab.core.errors import CheckpointError
from streamlab.core.process_id import ProcessId, process_id
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.pins import Pins

FRAME = pl.DataFrame({"n": [1]})
DEAD = ProcessId(2**22 + 1, "before this boot")


@pytest.fixture
def blobs() -> DictBlobs:
    found = DictBlobs()
    for number in (1, 2):
        publish(found, number, FRAME)
    return found


def own() -> ProcessId:
    found = process_id()
    assert found is not None
    return found


def test_as_long_as_one_of_its_processes_lives(blobs: DictBlobs) -> None:
    store = ManifestStore(blobs)
    store.hold(1, "j-7", [DEAD, own()])
    assert store.retain(1) == []
    store.hold(1, "j-7", [DEAD])
    assert store.retain(1) == [1]
    store.collect_garbage()
    assert blobs.sizes("pins") == {}


def test_until_it_is_let_go_under_that_name(blobs: DictBlobs) -> None:
    store = ManifestStore(blobs)
    for owner in ("j-7", "j-8"):
        store.hold(1, owner, [own()])
    store.release(1, "j-7")
    assert store.retain(1) == []
    store.release(1, "j-8")
    assert store.retain(1) == [1]


def test_taken_over_although_somebody_would_delete_it_just_now(blobs: DictBlobs) -> None:
    store = ManifestStore(blobs)
    store.hold(1, "j-7", [own()])
    with Pins(blobs).deleting(1) as free:
        assert not free
        # Who was not there before might come too late; who was has been seen.
        with pytest.raises(CheckpointError, match="its deletion"):
            store.hold(1, "j-8", [own()])
        store.hold(1, "j-7", [own()])
    store.release(1, "j-7")
    assert store.retain(1) == [1]


def test_what_is_not_there_is_not_held_and_a_savepoint_need_not_be(blobs: DictBlobs) -> None:
    store = ManifestStore(blobs)
    with pytest.raises(CheckpointError, match="0009"):
        store.hold(9, "j-7", [own()])
    publish(blobs, 3, FRAME, kind="savepoint")
    # It may lie where nobody can write.
    assert store.hold(3, "j-7", [own()]).kind == "savepoint"
    assert blobs.sizes("pins") == {}
