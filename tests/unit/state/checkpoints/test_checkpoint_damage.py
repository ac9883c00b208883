"""Damage of every kind: found before anything is understood, the file named, the checkpoint before it used."""

from __future__ import annotations

import random

import msgspec
import polars as pl
import pytest
from checkpoint_kit import DictBlobs, manifest_of, newest_whole, publish

from streamlab.core.errors import CheckpointError
from streamlab.state.checkpoints import manifests as manifests_module
from streamlab.state.checkpoints.contents import file_name
from streamlab.state.checkpoints.manifest import FORMAT, StoredFrame
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.state_files import StateFiles

FLIPS = 10_000
MANIFEST = "checkpoints/0002/manifest.json"


@pytest.fixture
def blobs() -> DictBlobs:
    blobs = DictBlobs()
    publish(blobs, 1, pl.DataFrame({"n": [1]}))
    many = pl.DataFrame({"key": [f"key {k}" for k in range(200)], "n": range(200)})
    publish(blobs, 2, pl.DataFrame({"n": [None, 2.5]}), many)
    return blobs


def files_of_second(blobs: DictBlobs) -> list[str]:
    return [MANIFEST, *sorted(file_name(stored) for stored in ManifestStore(blobs).get(2).files)]


def found_by(blobs: DictBlobs, damaged: str) -> CheckpointError:
    """Return the error that reading checkpoint 2 gives; it must name the damaged file."""
    store = ManifestStore(blobs)
    with pytest.raises(CheckpointError) as error:
        store.verify(store.get(2))
    assert error.value.file == damaged
    assert damaged in str(error.value)
    return error.value


def test_every_flipped_bit_is_found_and_its_file_named(blobs):
    names = files_of_second(blobs)
    stored = {file_name(file): file for file in ManifestStore(blobs).get(2).files}
    files = StateFiles(blobs)
    choose = random.Random(20)
    lengths = [len(blobs.data[name]) for name in names]
    for flip in range(FLIPS):
        name = names[flip % 3] if flip % 2 else choose.choices(names, lengths)[0]
        whole = blobs.data[name]
        place = choose.randrange(len(whole) * 8)
        blobs.data[name] = whole[: place // 8] + bytes([whole[place // 8] ^ 1 << place % 8]) + whole[place // 8 + 1 :]
        assert found_by(blobs, name).matter == "damaged"
        if name in stored:
            with pytest.raises(CheckpointError, match=name):
                files.get(stored[name])
        if flip % 100 == 0:
            assert newest_whole(blobs).id == 1
        blobs.data[name] = whole
    assert newest_whole(blobs).id == 2


def test_every_truncation_is_found_and_its_file_named(blobs):
    for name in files_of_second(blobs):
        whole = blobs.data[name]
        for length in [*range(0, len(whole), 512), len(whole) - 1]:
            blobs.data[name] = whole[:length]
            found_by(blobs, name)
            assert newest_whole(blobs).id == 1
        for more in (b"\0", b"\n", whole):
            blobs.data[name] = whole + more
            found_by(blobs, name)
        blobs.data[name] = bytes(len(whole))
        found_by(blobs, name)
        del blobs.data[name]
        if name != MANIFEST:
            assert found_by(blobs, name).matter == "missing"
        assert newest_whole(blobs).id == 1
        blobs.data[name] = whole


def test_files_of_one_length_that_were_swapped_are_found(blobs):
    one, other = (StateFiles(blobs).put(pl.DataFrame({"n": [k]}))[0] for k in (7, 8))
    ManifestStore(blobs).put(manifest_of(3, one, other))
    names = sorted((file_name(one), file_name(other)))
    blobs.data[names[0]], blobs.data[names[1]] = blobs.data[names[1]], blobs.data[names[0]]
    with pytest.raises(CheckpointError, match=names[0]):
        ManifestStore(blobs).verify(ManifestStore(blobs).get(3))


def test_a_manifest_in_the_place_of_another_is_found(blobs):
    blobs.data[MANIFEST] = blobs.data["checkpoints/0001/manifest.json"]
    found_by(blobs, MANIFEST)


def test_a_later_format_is_said_to_be_later_not_damaged(blobs):
    blobs.data[MANIFEST] = manifests_module._encode(manifest_of(2, format=FORMAT + 1))
    assert found_by(blobs, MANIFEST).matter == "newer"
    # Which files it needs cannot be known.
    assert ManifestStore(blobs).collect_garbage() == []
    publish(blobs, 3, pl.DataFrame({"n": [3]}))
    assert ManifestStore(blobs).retain(1) == [1]


def sealed(body: bytes) -> bytes:
    """Return a manifest's file with a right checksum around any body, as an attacker can make it."""
    checksum = manifests_module._checksum(FORMAT, body)
    return msgspec.json.encode({"format": FORMAT, "sha256": checksum, "manifest": msgspec.Raw(body)})


HOSTILE = StoredFrame("0" * 64, 10, 1)


@pytest.mark.parametrize(
    "file",
    [
        StoredFrame("../../../etc/passwd", 10, 1),
        StoredFrame("/etc/passwd", 10, 1),
        StoredFrame("A" * 64, 10, 1),
        StoredFrame("0" * 64 + "\n", 10, 1),
        StoredFrame("0" * 64, -1, 1),
        StoredFrame("0" * 64, 10, -1),
    ],
)
def test_hostile_names_and_lengths_make_no_manifest(blobs, file):
    body = msgspec.json.encode(manifest_of(2, HOSTILE))
    forged = [file.sha256, file.size_bytes, file.rows]
    blobs.data[MANIFEST] = sealed(body.replace(msgspec.json.encode(HOSTILE), _json(forged)))
    assert sealed(body) != blobs.data[MANIFEST]
    found_by(blobs, MANIFEST)
    # Nothing outside is touched by who takes the value as it is.
    with pytest.raises(CheckpointError):
        StateFiles(blobs).get(file)


def _json(values: list[object]) -> bytes:
    return b"[" + b",".join(str(v).encode() if isinstance(v, int) else msgspec.json.encode(v) for v in values) + b"]"


@pytest.mark.parametrize(
    "body",
    [b"null", b"[]", b"{}", b'"text"', b"[" * 100_000 + b"]" * 100_000, b'{"format":1,"id":"2"}', b"1e999", b'"\xff"'],
)
def test_other_json_makes_no_manifest(blobs, body):
    try:
        blobs.data[MANIFEST] = sealed(body)
    except msgspec.MsgspecError:
        blobs.data[MANIFEST] = body
    found_by(blobs, MANIFEST)
    blobs.data[MANIFEST] = body
    found_by(blobs, MANIFEST)


def test_a_length_that_nobody_could_hold_is_not_read(blobs):
    name = file_name(HOSTILE)
    blobs.data[name] = b"short"
    read: list[str] = []
    blobs.before = lambda operation, name: read.append(name) if operation == "get" else None
    with pytest.raises(CheckpointError, match=name):
        StateFiles(blobs).get(StoredFrame("0" * 64, 2**70, 1))
    assert read == []
