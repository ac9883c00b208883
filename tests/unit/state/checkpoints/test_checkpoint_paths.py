"""By which paths a savepoint, or a checkpoint of a job, is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamlab.core.errors import CheckpointError, OptionError
from streamlab.job.history.checkpoints import Checkpoint
from streamlab.state.checkpoints.blobs import open_blobs
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.savepoints import find_savepoint


def manifest(number: int) -> Manifest:
    return Manifest(
        polars="2",
        job="j-1",
        id=number,
        attempt=1,
        fingerprint="",
        parallelism={},
        splits={},
        tasks=(),
        triggered_us=0,
        completed_us=0,
    )


@pytest.fixture
def job(tmp_path: Path) -> Path:
    store = ManifestStore(open_blobs(tmp_path / "job"))
    for number in (7, 8):
        store.put(manifest(number))
    return tmp_path / "job"


def test_the_newest_of_a_folder_or_one_of_them(job: Path):
    assert find_savepoint(job) == (str(job), manifest(8))
    assert find_savepoint(job / "checkpoints" / "0007") == (str(job), manifest(7))
    assert find_savepoint(f"{job}/checkpoints/0007/") == (str(job), manifest(7))


def test_a_checkpoint_in_the_hand_is_a_path_to_itself(job: Path):
    blobs = open_blobs(job)
    checkpoint = Checkpoint(blobs, ManifestStore(blobs).get(7))
    assert find_savepoint(checkpoint) == (str(job), manifest(7))
    assert os.fspath(checkpoint) == f"{job}/checkpoints/0007"


def test_at_a_url_as_in_a_folder():
    blobs = open_blobs("memory://paths/job")
    ManifestStore(blobs).put(manifest(7))
    assert find_savepoint("memory://paths/job/checkpoints/0007") == (blobs.where, manifest(7))


def test_a_savepoint_in_a_folder_that_looks_like_a_checkpoint(job: Path):
    place = job / "checkpoints" / "0009"
    ManifestStore(open_blobs(place)).put(manifest(1))
    assert find_savepoint(place) == (str(place), manifest(1))


def test_what_is_not_there_or_damaged_is_said(job: Path):
    for missing in (job / "checkpoints" / "0009", job / "nowhere", job.parent):
        with pytest.raises(OptionError, match="needs a savepoint or a checkpoint, got none at"):
            find_savepoint(missing)
    (job / "checkpoints" / "0007" / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"checkpoints/0007/manifest\.json"):
        find_savepoint(job / "checkpoints" / "0007")
