"""Retention and garbage collection, in any order with readers, damage and crashes: nothing that is needed goes."""

from __future__ import annotations

from contextlib import AbstractContextManager

import msgspec
import polars as pl
from checkpoint_kit import DictBlobs, manifest_of, publish
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamlab.core.errors import CheckpointError
from streamlab.core.process_id import ProcessId
from streamlab.state.checkpoints.contents import file_name
from streamlab.state.checkpoints.manifest import FORMAT, Manifest
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.pins import Mark
from streamlab.state.checkpoints.state_files import StateFiles

FRAMES = [pl.DataFrame({"n": [number]}) for number in range(6)]


class Retention(RuleBasedStateMachine):
    """A job that takes checkpoints, loses some to damage, and has readers that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs = DictBlobs()
        self.store = ManifestStore(self.blobs)
        self.next_id = 1
        self.manifests: dict[int, Manifest] = {}
        self.broken: set[int] = set()
        self.pins: list[tuple[int, AbstractContextManager[Manifest]]] = []

    @property
    def whole(self) -> list[int]:
        return sorted(
            number
            for number, manifest in self.manifests.items()
            if number not in self.broken and all(file_name(file) in self.blobs.data for file in manifest.files)
        )

    @rule(frames=st.sets(st.sampled_from(range(len(FRAMES)))))
    def complete(self, frames: set[int]) -> None:
        self.manifests[self.next_id] = publish(self.blobs, self.next_id, *(FRAMES[k] for k in frames))
        self.next_id += 1

    @rule(frame=st.sampled_from(range(len(FRAMES))))
    def abandon(self, frame: int) -> None:
        StateFiles(self.blobs).put(FRAMES[frame])

    @rule(data=st.data(), harm=st.sampled_from(["flip", "cut", "lose"]))
    @precondition(lambda self: set(self.manifests) - self.broken - {number for number, _ in self.pins})
    def damage_manifest(self, data: st.DataObject, harm: str) -> None:
        intact = set(self.manifests) - self.broken - {number for number, _ in self.pins}
        number = data.draw(st.sampled_from(sorted(intact)))
        name = f"checkpoints/{number:04d}/manifest.json"
        whole = self.blobs.data.pop(name)
        if harm == "lose":
            del self.manifests[number]
            return
        self.broken.add(number)
        self.blobs.data[name] = whole[:-9] if harm == "cut" else bytes([whole[0] ^ 1]) + whole[1:]

    @rule(data=st.data())
    @precondition(lambda self: self.blobs.sizes("state"))
    def lose_state(self, data: st.DataObject) -> None:
        pinned = {file_name(file) for number, _ in self.pins for file in self.manifests[number].files}
        files = sorted(set(self.blobs.sizes("state")) - pinned)
        if files:
            del self.blobs.data[data.draw(st.sampled_from(files))]

    @rule(data=st.data())
    @precondition(lambda self: self.whole)
    def pin(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.whole))
        pin = ManifestStore(self.blobs).pin(number)
        assert pin.__enter__() == self.manifests[number]
        self.pins.append((number, pin))

    @rule()
    @precondition(lambda self: self.pins)
    def let_go(self) -> None:
        self.pins.pop(0)[1].__exit__(None, None, None)

    @rule(number=st.integers(1, 9), notice=st.booleans())
    def die_with_a_mark(self, number: int, notice: bool) -> None:
        name = f"pins/deleting-{number:04d}.json" if notice else f"pins/{number:04d}-dead.json"
        self.blobs.data[name] = msgspec.json.encode(Mark(ProcessId(1, "never"), "this-host-is-gone", 0))

    @rule(keep=st.integers(1, 3))
    def retain(self, keep: int) -> None:
        kept = self.whole[-keep:]
        pinned = {number for number, _ in self.pins}
        expected = [n for n in sorted(self.manifests) if len(kept) == keep and n < kept[0] and n not in pinned]
        assert self.store.retain(keep) == expected
        for number in expected:
            del self.manifests[number]
            self.broken.discard(number)

    @rule()
    def collect(self) -> None:
        needed = {file_name(f) for n in set(self.manifests) - self.broken for f in self.manifests[n].files}
        there = set(self.blobs.sizes("state"))
        assert set(self.store.collect_garbage()) == there - needed
        assert set(self.blobs.sizes("state")) == there & needed
        assert len(self.blobs.sizes("pins")) == len(self.pins)

    @rule()
    def find_a_later_format(self) -> None:
        other = DictBlobs()
        other.data = dict(self.blobs.data)
        ManifestStore(other).put(manifest_of(self.next_id))
        later = other.data[f"checkpoints/{self.next_id:04d}/manifest.json"]
        other.data[f"checkpoints/{self.next_id:04d}/manifest.json"] = later.replace(
            b'"format":%d' % FORMAT, b'"format":%d' % (FORMAT + 1)
        )
        # A changed format alone is damage: the checksum is over it, too.
        assert next(iter(ManifestStore(other).newest_first()))[1].matter == "damaged"

    @invariant()
    def what_is_pinned_can_be_read(self) -> None:
        for number, _ in self.pins:
            self.store.verify(self.store.get(number))

    @invariant()
    def what_is_whole_is_found_newest_first(self) -> None:
        found = list(self.store.newest_first())
        assert [number for number, _ in found] == sorted(self.manifests, reverse=True)
        assert [n for n, result in found if not isinstance(result, CheckpointError)] == self.whole[::-1]


TestRetention = Retention.TestCase
TestRetention.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
