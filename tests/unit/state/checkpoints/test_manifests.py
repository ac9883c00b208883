"""Manifests: what is written is what is read, an id is given once, and a reader's pin holds off every deletion."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import polars as pl
import pytest
from checkpoint_kit import DictBlobs, manifest_of, publish
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamlab.core.errors import CheckpointError, InternalError
from streamlab.core.process_id import ProcessId, process_id
from streamlab.state.checkpoints.blobs import LocalBlobs
from streamlab.state.checkpoints.manifest import (
    KnownSplit,
    Manifest,
    StoredFrame,
    StoredSource,
    StoredSplit,
    StoredState,
    TaskState,
)
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.pins import Mark
from streamlab.testing.faulty_blobs import Crash, FaultyBlobs

FRAME = pl.DataFrame({"n": [1]})
DAY_US = 24 * 3600 * 1_000_000

texts = st.text(max_size=8)
moments = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(moments, st.floats(allow_nan=False, allow_infinity=False), texts, st.booleans(), st.none())
positions = st.one_of(moments, texts, st.lists(st.one_of(moments, texts), max_size=3).map(tuple))
stored_frames = st.builds(StoredFrame, st.text("0123456789abcdef", min_size=64, max_size=64), st.just(5), st.just(1))
states = st.builds(
    StoredState,
    st.dictionaries(texts, st.lists(stored_frames, max_size=2).map(tuple), max_size=2),
    st.dictionaries(texts, scalars, max_size=3),
    st.lists(texts, max_size=2).map(tuple),
)
splits = st.builds(StoredSplit, positions, st.integers(0, 10), moments, st.booleans())
sources = st.builds(StoredSource, st.dictionaries(texts, splits, max_size=2), moments, st.none() | moments)
tasks = st.builds(
    TaskState,
    texts,
    st.integers(0, 7),
    operators=st.dictionaries(texts, states, max_size=2),
    source=st.none() | sources,
    finished=st.booleans(),
)
known_splits = st.builds(KnownSplit, texts, st.none() | st.integers(0, 9), st.none() | moments, st.none() | moments)
manifests = st.builds(
    lambda tasks, splits, attempt: manifest_of(3, tasks=tasks, splits=splits, attempt=attempt),
    st.lists(tasks, max_size=3).map(tuple),
    st.dictionaries(texts, st.lists(known_splits, max_size=2).map(tuple), max_size=2),
    st.integers(0, 99),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(manifests)
def test_what_is_published_is_what_is_read(manifest):
    blobs = DictBlobs()
    ManifestStore(blobs).put(manifest)
    read = ManifestStore(blobs).get(3)
    assert read == manifest
    assert repr(read) == repr(manifest)  # 1 and 1.0 and True are equal


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_hold_is_not_published(value):
    blobs = DictBlobs()
    state = StoredState({}, {"maximum": value})
    with pytest.raises(InternalError, match="JSON"):
        ManifestStore(blobs).put(manifest_of(1, tasks=(TaskState("v", 0, operators={"o": state}),)))
    assert blobs.data == {}


def test_anyone_can_read_a_manifest(tmp_path):
    publish(LocalBlobs(tmp_path), 7, FRAME)
    read = msgspec.json.decode((tmp_path / "checkpoints" / "0007" / "manifest.json").read_bytes())
    assert read["manifest"]["job"] == "flights"
    (file,) = (tmp_path / "state").iterdir()
    assert pl.read_ipc(file).equals(FRAME)


def test_ids_ascend_whatever_else_lies_there():
    blobs = DictBlobs()
    for number in (12_345, 7, 9999, 10_000, 0):
        publish(blobs, number, FRAME)
    for other in ("checkpoints/0008/other.json", "checkpoints/8/manifest.json", "checkpoints/00009/manifest.json"):
        blobs.data[other] = b""
    blobs.data["checkpoints/0011/manifest.json"] = b"damaged"
    assert ManifestStore(blobs).ids() == [0, 7, 11, 9999, 10_000, 12_345]
    assert ManifestStore(DictBlobs()).ids() == []


def test_a_missing_manifest_is_named():
    with pytest.raises(CheckpointError, match=r"checkpoints/0003/manifest\.json") as missing:
        ManifestStore(DictBlobs()).get(3)
    assert missing.value.matter == "missing"


def test_an_id_is_given_once_but_a_retry_is_none():
    blobs = DictBlobs()
    first = publish(blobs, 1, FRAME, attempt=1)
    ManifestStore(blobs).put(first)
    with pytest.raises(CheckpointError, match="another checkpoint") as refused:
        publish(blobs, 1, FRAME, attempt=2)
    assert refused.value.matter == "refused"
    assert ManifestStore(blobs).get(1) == first


def test_newest_first_says_what_is_wrong_with_each():
    blobs = DictBlobs()
    for number in range(1, 5):
        publish(blobs, number, pl.DataFrame({"n": [number]}))
    blobs.data["checkpoints/0004/manifest.json"] += b" "
    (file,) = ManifestStore(blobs).get(3).files
    del blobs.data[f"state/{file.sha256}.arrow"]
    found = list(ManifestStore(blobs).newest_first())
    assert [number for number, _ in found] == [4, 3, 2, 1]
    assert [getattr(result, "matter", "whole") for _, result in found] == ["damaged", "missing", "whole", "whole"]
    assert found[1][1].file == f"state/{file.sha256}.arrow"


def test_a_store_that_cannot_be_reached_is_no_damage():
    blobs = DictBlobs()
    for number in (1, 2):
        publish(blobs, number, FRAME)
    store = ManifestStore(blobs)

    def fail(operation: str, name: str) -> None:
        if name.startswith("checkpoints/0002"):
            message = "no connection"
            raise CheckpointError(message, file=name, matter="unreachable")

    blobs.before = fail
    for use in (lambda: list(store.newest_first()), store.collect_garbage, lambda: store.retain(1)):
        before = dict(blobs.data)
        with pytest.raises(CheckpointError, match="no connection"):
            use()
        assert blobs.data == before


def test_keeping_none_is_refused():
    with pytest.raises(InternalError, match="at least 1"):
        ManifestStore(DictBlobs()).retain(0)


def test_savepoints_are_the_users():
    blobs = DictBlobs()
    publish(blobs, 1, FRAME, kind="savepoint")
    for number in (2, 3):
        publish(blobs, number, FRAME)
    assert ManifestStore(blobs).retain(1) == [2]
    assert ManifestStore(blobs).ids() == [1, 3]


def test_a_pinned_checkpoint_stays_whole_until_it_is_let_go():
    blobs = DictBlobs()
    for number in (1, 2, 3):
        publish(blobs, number, pl.DataFrame({"n": [number]}))
    store, other = ManifestStore(blobs), ManifestStore(blobs)
    with other.pin(1) as manifest, other.pin(1):
        assert store.retain(1) == [2]
        assert not store.delete(1)
        store.collect_garbage()
        other.verify(manifest)
    assert store.delete(1)
    assert blobs.sizes("pins") == {}


def test_pins_of_what_is_not_there_leave_nothing():
    blobs = DictBlobs()
    with pytest.raises(CheckpointError, match="0001"), ManifestStore(blobs).pin(1):
        pytest.fail("there is no checkpoint")
    assert blobs.data == {}


def mark(process: ProcessId, host: str, age_us: int = 0) -> bytes:
    return msgspec.json.encode(Mark(process, host, time.time_ns() // 1000 - age_us))


DEAD = ProcessId(2**22 + 1, "before this boot")
HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (mark(process_id(), HERE), True),
        (mark(process_id(), HERE, age_us=9 * DAY_US), True),
        (mark(DEAD, HERE), False),
        (mark(DEAD, "elsewhere"), True),
        (mark(DEAD, "elsewhere", age_us=2 * DAY_US), False),
        (mark(DEAD, "elsewhere", age_us=-2 * DAY_US), False),
        (b"not ours", True),
    ],
    ids=["living", "living and old", "dead", "far", "far and old", "far and of the future", "not ours"],
)
def test_pins_count_as_long_as_their_process_may_live(data, counts):
    blobs = DictBlobs()
    for number in (1, 2):
        publish(blobs, number, FRAME)
    blobs.data["pins/0001-abc.json"] = data
    assert ManifestStore(blobs).retain(1) == ([] if counts else [1])
    ManifestStore(blobs).collect_garbage()
    assert ("pins/0001-abc.json" in blobs.data) == counts
    # The same of a deleter's notice.
    blobs.data["pins/deleting-0002.json"] = data
    with ExitStack() as stack:
        if counts:
            with pytest.raises(CheckpointError, match="0002"):
                stack.enter_context(ManifestStore(blobs).pin(2))
        else:
            stack.enter_context(ManifestStore(blobs).pin(2))


def test_a_pin_and_a_deletion_never_both_succeed_however_they_interleave():
    outcomes = set()
    for first in ("pin", "delete"):
        for step in range(20):
            outcomes.add(interleaved(first, step))
    # Each may win, and each may lose.
    assert outcomes == {(True, False), (False, True)} | ({(False, False)} & outcomes)


def interleaved(first: str, step: int) -> tuple[bool, bool]:
    """Run the other one whole before the given operation of the first; return whether pin and deletion succeeded."""
    blobs = DictBlobs()
    for number in (1, 2):
        publish(blobs, number, FRAME)
    succeeded = {}
    with ExitStack() as held:

        def pin() -> None:
            try:
                succeeded["pin"] = held.enter_context(ManifestStore(blobs).pin(1)) is not None
            except CheckpointError:
                succeeded["pin"] = False

        def delete() -> None:
            succeeded["delete"] = ManifestStore(blobs).delete(1)

        run, other = (pin, delete) if first == "pin" else (delete, pin)
        operations = iter(range(1000))

        def interrupt(operation: str, name: str) -> None:
            if next(operations) == step:
                blobs.before = lambda operation, name: None
                other()

        blobs.before = interrupt
        run()
        blobs.before = lambda operation, name: None
        if len(succeeded) == 1:
            other()
        assert not (succeeded["pin"] and succeeded["delete"])
        if succeeded["pin"]:
            ManifestStore(blobs).verify(ManifestStore(blobs).get(1))
    return succeeded["pin"], succeeded["delete"]


def test_a_manifest_says_how_large_its_files_are():
    one, other = StoredFrame("0" * 64, 5, 1), StoredFrame("1" * 64, 7, 1)
    manifest: Manifest = manifest_of(1, one, other, one)
    assert manifest.files == {one, other}
    assert manifest.size_bytes == 12


def test_nothing_is_left_aside_on_a_disk(tmp_path):
    blobs = LocalBlobs(tmp_path)
    publish(blobs, 1, FRAME)
    with ManifestStore(blobs).pin(1):
        pass
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert [Path(name).parts[0] for name in left] == ["checkpoints", "state"]


def test_a_manifest_that_its_writer_did_not_live_to_sync_is_made_durable() -> None:
    for made_sure in (False, True):
        blobs = FaultyBlobs()
        store = ManifestStore(blobs)
        blobs.crash_at_write(named=True)
        with pytest.raises(Crash):
            store.put(manifest_of(3))
        if made_sure:
            store.make_durable(store.get(3))
        blobs.lose_unsynced()
        assert store.ids() == ([3] if made_sure else [])
    with pytest.raises(CheckpointError) as gone:
        store.make_durable(manifest_of(4))
    assert gone.value.matter == "damaged"
