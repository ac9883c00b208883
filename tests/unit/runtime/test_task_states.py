"""Parts of checkpoints: what tasks leave, others take up whole, at any parallelism, wherever steps run now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.connectors.contracts.source import Split
from streamlab.connectors.reading.progress import ReaderSnapshot, SplitProgress
from streamlab.core.errors import CheckpointError
from streamlab.graph.job_graph import Vertex
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.runtime.task.task_states import known_split, restored_reader, restored_task, split_of, stored_part
from streamlab.runtime.task.task_values import Restored, Snapshotted
from streamlab.state.checkpoints.blobs import LocalBlobs
from streamlab.state.checkpoints.contents import file_name
from streamlab.state.checkpoints.manifest import Manifest, TaskState
from streamlab.state.checkpoints.snapshots import SnapshotWriter
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.state.snapshot import Snapshot, subtask_of
from streamlab.testing.ledger import Ledger, LedgerSink

KEYED = pl.Schema({"k": pl.String, "x": pl.Float64})
PARALLELISMS = st.integers(1, 8)
Row = tuple[str | None, float | None]


@dataclass(frozen=True)
class Step(OperatorSpec):
    """A step of which only the name counts."""

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        raise NotImplementedError


def vertex(name: str, parallelism: int, *steps: str) -> Vertex:
    return Vertex(name, None, tuple(Step(step) for step in steps), LedgerSink("sink", Ledger()), parallelism)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> StateFiles:
    return StateFiles(LocalBlobs(str(tmp_path_factory.mktemp("store"))))


def manifest_of(*tasks: TaskState, polars: str = pl.__version__) -> Manifest:
    manifest = Manifest(
        polars=polars,
        job="j",
        id=4,
        attempt=1,
        fingerprint="",
        parallelism={},
        splits={},
        tasks=tasks,
        triggered_us=1,
        completed_us=2,
    )
    # What is restored has been through a file.
    return msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest)


def cut(rows: list[Row], parallelism: int, frames: int) -> list[Snapshot]:
    """Return the snapshots of an operator's subtasks that hold rows, by their keys, in several frames each."""
    table = pl.DataFrame(rows, KEYED, orient="row")
    owner = table.select(subtask_of(["k"], parallelism, KEYED)).to_series()
    snapshots = []
    for subtask in range(parallelism):
        mine = table.filter(owner == subtask)
        pieces = tuple(mine[at::frames] for at in range(frames))
        snapshots.append(Snapshot({"rows": pieces, "empty": ()}, {"watermark_us": subtask, "name": "n"}, ("k",)))
    return snapshots


def stored(
    files: StateFiles, name: str, snapshots: dict[str, list[Snapshot]], *, finished: tuple[int, ...] = ()
) -> list[TaskState]:
    """Store the parts of all subtasks of a vertex; those that have ended hold nothing."""
    writer = SnapshotWriter(files)
    parallelism = len(next(iter(snapshots.values())))
    parts = []
    for subtask in range(parallelism):
        over = subtask in finished
        states = {} if over else {step: several[subtask] for step, several in snapshots.items()}
        pending = (((("file", f"{name}-{subtask}"),)),)
        taken = Snapshotted(4, states, None, pending, over, {"rows_in": subtask + 1})
        parts.append(stored_part(name, subtask, taken, writer, alignment_us=3))
    return parts


def restored_all(manifest: Manifest, to: Vertex, files: StateFiles) -> list[Restored]:
    return [restored_task(manifest, to, subtask, files) for subtask in range(to.parallelism)]


def rows_of(restored: list[Restored], step: str) -> Counter[Row]:
    frames = [frame for one in restored if step in one.operators for frame in one.operators[step].keyed["rows"]]
    return Counter(row for frame in frames for row in frame.rows())


ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "", None]), st.sampled_from([0.0, 1.5, None])), max_size=12)


@settings(deadline=None)  # it writes files
@given(rows=ROWS, before=PARALLELISMS, after=PARALLELISMS, frames=st.integers(1, 3), other=st.booleans())
def test_state_is_the_same_rows_at_every_parallelism(files, rows, before, after, frames, other):
    parts = stored(files, "count", {"count": cut(rows, before, frames)})
    manifest = manifest_of(*parts, polars="another" if other else pl.__version__)
    restored = restored_all(manifest, vertex("count", after, "count"), files)
    assert rows_of(restored, "count") == Counter(rows)
    for subtask, one in enumerate(restored):
        state = one.operators["count"]
        for frame in state.keyed["rows"]:
            owners = frame.select(subtask_of(state.key_columns, after, frame.schema)).to_series()
            assert set(owners) <= {subtask}
            assert frame.schema == KEYED
        assert state.key_columns == ("k",)
        assert state.values == {"watermark_us": subtask if before == after and not other else 0, "name": "n"}
    assert sorted(pending for one in restored for pending in one.pending) == sorted(p for t in parts for p in t.pending)
    assert sum(one.counters.get("rows_in", 0) for one in restored) == sum(range(before + 1))
    assert not any(one.finished for one in restored)


@pytest.mark.parametrize("is_own", [True, False])
def test_transactions_go_to_the_sink_wherever_it_runs(files, is_own):
    """At another parallelism, steps may be chained to the sink that were apart from it."""
    parts = stored(files, "count", {"count": cut([], 2, 1)})
    chained = vertex("read and count", 1, "count")
    restored = restored_task(manifest_of(*parts), chained, 0, files, is_own=is_own)
    assert restored.pending == tuple(pending for part in parts for pending in part.pending)


@settings(deadline=None)  # it writes files
@given(rows=ROWS, before=PARALLELISMS, after=PARALLELISMS)
def test_state_without_keys_goes_to_the_first_subtask(files, rows, before, after):
    table = pl.DataFrame(rows, KEYED, orient="row")
    snapshots = [Snapshot({"rows": (table,)}), *(Snapshot() for _ in range(before - 1))]
    manifest = manifest_of(*stored(files, "sort", {"sort": snapshots}))
    restored = restored_all(manifest, vertex("sort", after, "sort"), files)
    assert rows_of(restored[:1], "sort") == Counter(rows)
    assert all(frame.height == 0 for one in restored[1:] for frame in one.operators["sort"].keyed.get("rows", ()))


@settings(deadline=None, max_examples=50)  # it writes files
@given(first=ROWS, second=ROWS, before=PARALLELISMS, after=PARALLELISMS)
def test_state_follows_the_names_of_steps_into_other_vertices(files, first, second, before, after):
    """Steps that ran in one task may run in two, and the other way round."""
    both = stored(files, "one", {"one": cut(first, before, 1), "two": cut(second, before, 1)})
    apart = manifest_of(*both)
    assert rows_of(restored_all(apart, vertex("one", after, "one"), files), "one") == Counter(first)
    assert rows_of(restored_all(apart, vertex("two", after, "two"), files), "two") == Counter(second)
    together = manifest_of(
        *stored(files, "one", {"one": cut(first, before, 1)}), *stored(files, "two", {"two": cut(second, after, 1)})
    )
    joined = restored_all(together, vertex("one", before, "one", "two"), files)
    assert rows_of(joined, "one") == Counter(first)
    assert rows_of(joined, "two") == Counter(second)
    for step in ("one", "two"):
        for subtask, one in enumerate(joined):
            for frame in one.operators[step].keyed["rows"]:
                assert set(frame.select(subtask_of(["k"], before, KEYED)).to_series()) <= {subtask}


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("finished", [(), (0,), (0, 1)])
def test_a_task_has_ended_when_all_that_it_inherits_from_have(files, finished, after):
    parts = stored(files, "count", {"count": cut([("a", 1.0), ("b", 2.0), ("c", 3.0)], 2, 1)}, finished=finished)
    restored = restored_all(manifest_of(*parts), vertex("count", after, "count"), files)
    if after == 2:
        assert [one.finished for one in restored] == [subtask in finished for subtask in range(2)]
    else:
        assert [one.finished for one in restored] == [len(finished) == 2] * after
    left = [part for part in parts if part.operators]
    expected = sum(file.rows for part in left for file in part.files)
    assert sum(rows_of(restored, "count").values()) == expected


def test_a_step_that_the_checkpoint_does_not_know_starts_empty(files):
    manifest = manifest_of(*stored(files, "count", {"count": cut([("a", 1.0)], 2, 1)}))
    (restored,) = restored_all(manifest, replace(vertex("other", 1, "other"), sink=None), files)
    assert restored == Restored(checkpoint_id=4)
    widened = restored_all(manifest, vertex("count", 2, "count", "new"), files)
    assert [list(one.operators) for one in widened] == [["count"], ["count"]]


def test_a_missing_file_is_named(tmp_path):
    blobs = LocalBlobs(str(tmp_path))
    parts = stored(StateFiles(blobs), "count", {"count": cut([("a", 1.0)], 1, 1)})
    (file,) = parts[0].files
    blobs.delete(file_name(file))
    with pytest.raises(CheckpointError, match=file.sha256):
        restored_task(manifest_of(*parts), vertex("count", 1, "count"), 0, StateFiles(blobs))


def test_without_a_writer_nothing_is_stored():
    taken = Snapshotted(1, {"count": cut([("a", 1.0)], 1, 1)[0]}, None, (), True, {"rows_in": 1})
    part = stored_part("count", 0, taken, None)
    assert (part.operators, part.finished, part.counters, part.new_bytes) == ({}, True, {"rows_in": 1}, 0)


POSITIONS = st.one_of(
    st.integers(0, 2**60), st.text(max_size=5), st.tuples(st.integers(0, 9), st.text(max_size=3), st.integers(0, 9))
)
PROGRESS = st.builds(SplitProgress, POSITIONS, st.integers(0, 9), st.integers(-(2**62), 2**62), st.booleans())


@given(st.dictionaries(st.text(min_size=1, max_size=5), PROGRESS, max_size=8), st.integers(1, 4))
def test_positions_of_a_source_are_the_same_again(splits, subtasks):
    names = sorted(splits)
    parts = []
    for subtask in range(subtasks):
        mine = {name: splits[name] for name in names[subtask::subtasks]}
        taken = Snapshotted(4, {}, ReaderSnapshot(mine, subtask - 5, 7 if subtask else None))
        parts.append(stored_part("read", subtask, taken, None))
    read = restored_reader(manifest_of(*parts, TaskState("sink", 0)), "read")
    assert dict(read.splits) == splits


@given(st.builds(Split, st.text(), st.none() | st.integers(0), st.none() | st.integers(), st.none() | st.integers()))
def test_a_split_is_the_same_again(split):
    assert (
        split_of(msgspec.json.decode(msgspec.json.encode(known_split(split)), type=type(known_split(split)))) == split
    )
