"""The laws of sources that discover splits: each row comes once, whenever its split appears and whoever restarts.

Splits appear, grow and are listed no more at any step; checkpoints are taken and restored at any step, several times,
by another number of subtasks; each goes through the manifest's JSON as it does in a job.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_kit import Once

from streamlab.connectors.contracts.source import Source, Split
from streamlab.connectors.files.files import scan_csv, scan_ipc, scan_ndjson, scan_parquet
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.connectors.recording.recorded import recorded
from streamlab.core.messages import Batch
from streamlab.runtime.coordinator.known_splits import with_found_splits
from streamlab.runtime.task.task_states import known_split, restored_reader, split_of, stored_part
from streamlab.runtime.task.task_values import Snapshotted
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.testing.sources import FollowedFrames, Shelf

SCHEMA = pl.Schema({"n": pl.Int64})
ROWS = 6
POLL_US = 300_000

names = st.sampled_from([f"part-{n}" for n in range(12)] + ["other", "2024-01-31T12-05", "2024-01-31T12-10"])
events = st.lists(
    st.one_of(
        st.tuples(st.just("appear"), names),
        st.tuples(st.just("grow"), names),
        st.tuples(st.just("forget"), names),
        st.tuples(st.just("poll"), st.integers(0, 3)),
        st.tuples(st.just("checkpoint"), st.just(0)),
        st.tuples(st.just("restart"), st.integers(1, 3)),
    ),
    max_size=40,
)


class World:
    """Where splits appear, on a shelf or as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shelf = Shelf()
        self.rows: dict[str, list[int]] = {}

    def appear(self, name: str) -> None:
        if name not in self.rows:
            first = 100 * len(self.rows)
            self.rows[name] = list(range(first, first + ROWS))
            self.write(name, pl.DataFrame({"n": self.rows[name]}, schema=SCHEMA))

    def write(self, name: str, frame: pl.DataFrame) -> None:
        self.shelf.put(name, frame, written=len(self.rows) % 3)

    def grow(self, name: str) -> None:
        if name in self.shelf.written:
            self.shelf.grow(name, 2)

    def forget(self, name: str) -> None:
        self.shelf.hidden.add(name)

    def finish(self) -> None:
        for name in list(self.shelf.written):
            self.shelf.grow(name, ROWS)
        self.shelf.hidden.clear()

    def source(self) -> Source:
        return FollowedFrames("followed", SCHEMA, shelf=self.shelf)


class RecordedWorld(World):
    """The same, read by a source that cannot be read again."""

    def source(self) -> Source:
        live = super().source()
        return recorded(_FollowedOnce(live.name, live.schema, live), str(self.folder / "recording"))


class _FollowedOnce(Once):
    @property
    def discovers(self) -> bool:
        return True


def world_of_files(scan: Callable[..., Source], suffix: str) -> type[World]:
    class Files(World):
        def write(self, name: str, frame: pl.DataFrame) -> None:
            path = self.folder / f"{name}.{suffix}"
            staged = self.folder / f"{name}.tmp"
            getattr(frame, f"write_{scan.__name__.removeprefix('scan_')}")(staged)
            os.utime(staged, ns=(0, 0))
            staged.rename(path)

        def source(self) -> Source:
            return scan(self.folder, schema=SCHEMA, follow=True)

    return Files


WORLDS = {
    "memory": World,
    "recorded": RecordedWorld,
    "parquet": world_of_files(scan_parquet, "parquet"),
    "csv": world_of_files(scan_csv, "csv"),
    "ndjson": world_of_files(scan_ndjson, "ndjson"),
    "ipc": world_of_files(scan_ipc, "arrow"),
}


@dataclass
class Job:
    """The readers of a source, what they gave, and the checkpoint that they would go on from."""

    source: Source
    listed: Sequence[Split] = ()
    manifest: Manifest | None = None
    readers: list[SteppedReader] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    safe: list[int] = field(default_factory=list)
    now_us: int = 10**12

    def start(self, parallelism: int) -> None:
        self.close()
        if self.manifest is None:
            snapshot, splits = None, self.listed
        else:
            snapshot = restored_reader(self.manifest, "read")
            splits = [split_of(known) for known in self.manifest.splits["read"]]
        self.given = list(self.safe)
        self.readers = [
            SteppedReader(self.source, splits, subtask, parallelism, snapshot, batch_rows=4, batch_ms=0)
            for subtask in range(parallelism)
        ]

    def poll(self, subtask: int) -> None:
        self.now_us += POLL_US
        for message in self.readers[subtask % len(self.readers)].poll(self.now_us):
            if isinstance(message, Batch):
                self.given += message.collected()["n"].to_list()

    def checkpoint(self) -> None:
        parts = [
            stored_part("read", subtask, Snapshotted(1, {}, reader.snapshot()), None)
            for subtask, reader in enumerate(self.readers)
        ]
        listed = {"read": tuple(map(known_split, self.listed))}
        splits, tasks = with_found_splits(listed, parts)
        times: dict[str, Any] = {"triggered_us": 0, "completed_us": 0}
        made = Manifest(
            polars="", job="", id=1, attempt=1, fingerprint="", parallelism={}, splits=splits, tasks=tasks, **times
        )
        self.manifest = msgspec.json.decode(msgspec.json.encode(made), type=Manifest)
        self.safe = list(self.given)

    def known(self) -> set[str]:
        """Return the splits that need not be listed again, whoever restarts."""
        assert self.manifest is not None
        snapshot = restored_reader(self.manifest, "read")
        return {split.id for split in self.manifest.splits["read"]} | set(snapshot.splits)

    def close(self) -> None:
        for reader in self.readers:
            reader.close()


def run(world: World, parallelism: int, happens: list[tuple[str, Any]]) -> Job:
    """Let things happen, then let all splits be read to their ends."""
    job = Job(world.source())
    job.listed = job.source.splits()
    job.start(parallelism)
    for what, which in happens:
        if what == "poll":
            job.poll(which)
        elif what == "checkpoint":
            job.checkpoint()
        elif what == "restart":
            job.start(which)
        elif what != "forget" or (job.manifest is not None and which in job.known()):
            getattr(world, what)(which)
    if job.manifest is not None:
        job.start(len(job.readers) % 3 + 1)
    world.finish()
    for turn in range(40 * len(job.readers)):
        job.poll(turn)
    return job


@pytest.mark.parametrize("kind", WORLDS)
@settings(max_examples=25, deadline=None)
@given(parallelism=st.integers(1, 3), first=st.lists(names, max_size=3), happens=events)
def test_each_row_comes_once(kind: str, parallelism: int, first: list[str], happens: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = WORLDS[kind](Path(folder))
        for name in first:
            world.appear(name)
        job = run(world, parallelism, happens)
        assert sorted(job.given) == sorted(n for rows in world.rows.values() for n in rows)
        job.checkpoint()
        job.close()
        assert job.manifest is not None
        assert job.manifest.splits["read"] == ()


def test_a_split_that_was_found_and_not_begun_is_in_the_checkpoint(tmp_path: Path) -> None:
    world = World(tmp_path)
    job = Job(world.source())
    job.start(1)
    world.appear("part-1")
    world.shelf.written["part-1"] = 0
    job.poll(0)
    job.checkpoint()
    assert job.manifest is not None
    assert [split.id for split in job.manifest.splits["read"]] == ["part-1"]
    assert not restored_reader(job.manifest, "read").splits
    world.forget("part-1")
    job.start(2)
    world.finish()
    for turn in range(8):
        job.poll(turn)
    assert sorted(job.given) == world.rows["part-1"]
    job.close()
