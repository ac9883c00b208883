"""What a worker runs: which tasks, from which positions and state, and what is committed before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.connectors.contracts.sink import Guarantee, Pending, Sink, SinkContext, SinkWriter
from streamlab.connectors.contracts.source import Position, Source, Split, SplitReader
from streamlab.connectors.recording.recorded import RecordedSource
from streamlab.core.errors import CheckpointError
from streamlab.core.event_time.time import MIN_TIME_US
from streamlab.core.messages import Batch
from streamlab.core.options import JobOptions
from streamlab.graph.job_graph import Edge, Exchange, JobGraph, Vertex
from streamlab.runtime.job_folder.folder import CheckpointPlace, JobFolder, JobMeta, Replayed
from streamlab.runtime.messages.protocol import Deploy, Layout
from streamlab.runtime.task.task_states import known_split
from streamlab.runtime.worker.deployment import (
    BuiltTask,
    Origin,
    Place,
    build_task,
    recording_folder,
    share,
    with_recordings,
)
from streamlab.state.checkpoints.blobs import open_blobs
from streamlab.state.checkpoints.manifest import Manifest, StoredSource, StoredSplit, TaskState
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.testing.faulty_blobs import FaultyBlobs
from streamlab.testing.sources import SplitFrames

SCHEMA = pl.Schema({"n": pl.Int64})
ROWS = pl.DataFrame({"n": range(10)}, schema=SCHEMA)
OPTIONS = JobOptions("job", checkpoint_every_ms=100, checkpoint_keep=5)


@dataclass(frozen=True)
class Live(Source):
    """A source that cannot be read again."""

    @property
    def bounded(self) -> bool:
        return False

    @property
    def replayable(self) -> bool:
        return False

    def splits(self) -> Sequence[Split]:
        return [Split("one")]

    def open(self, split: Split, position: Position) -> SplitReader:
        raise NotImplementedError


@dataclass(frozen=True)
class Noted(Sink):
    """Writes down what is done to it."""

    name: str = "noted"
    said: list[object] = field(default_factory=list, compare=False)

    @property
    def guarantee(self) -> Guarantee:
        return "exactly-once"

    def open(self, context: SinkContext) -> SinkWriter:
        self.said.append(context)
        return _Noted(self.said)

    def describe(self) -> str:
        return "a list"


class _Noted(SinkWriter):
    def __init__(self, said: list[object]) -> None:
        self._said = said

    def write(self, frame: pl.DataFrame) -> None:
        self._said.append(frame)

    def prepare(self, checkpoint_id: int) -> Pending:
        return (("checkpoint", str(checkpoint_id)),)

    def commit(self, pending: Pending) -> None:
        self._said.append(pending)

    def take_over(self, pending: Pending) -> None:
        self._said.append(("taken over", pending))


SOURCE = SplitFrames("splits", SCHEMA, (ROWS, ROWS, ROWS))
SPLITS = tuple(map(known_split, SOURCE.splits()))


def graph_with(sink: Noted, parallelism: int) -> JobGraph:
    vertices = (Vertex("read", SOURCE, (), None, parallelism), Vertex("write", None, (), sink, parallelism))
    return JobGraph(vertices, (Edge("read", "write", Exchange.REBALANCE),))


def manifest(number: int, subtasks: int, position: int = 4) -> Manifest:
    """Return a checkpoint in which each split was read up to a row, and each sink has something to commit."""
    tasks = []
    for subtask in range(subtasks):
        splits = {
            split.id: StoredSplit(position, 0, MIN_TIME_US, finished=False, rows=position)
            for split in SPLITS[subtask::subtasks]
        }
        tasks.append(
            TaskState("read", subtask, source=StoredSource(splits, MIN_TIME_US, None), counters={"rows_in": 10})
        )
        tasks.append(TaskState("write", subtask, pending=((("file", f"of {subtask}"),),), counters={"rows_out": 1}))
    return Manifest(
        polars=pl.__version__,
        job="j",
        id=number,
        attempt=1,
        fingerprint="",
        parallelism={"read": subtasks, "write": subtasks},
        splits={"read": SPLITS},
        tasks=tuple(tasks),
        triggered_us=0,
        completed_us=0,
    )


def origin(found: Manifest | None, **how: bool) -> Origin:
    return Origin({"read": SPLITS}, FaultyBlobs(), found, **{"is_own": True, **how})


def built(sink: Noted, vertex: str, subtask: int, parallelism: int, where: Origin) -> BuiltTask:
    graph = graph_with(sink, parallelism)
    return build_task(graph, graph.vertex(vertex), subtask, where, Place("folder", 6, OPTIONS))


def numbers_read(task: BuiltTask) -> list[int]:
    assert task.reader is not None
    rows: list[int] = []
    for second in range(20):
        batches = [m for m in task.reader.poll(second * 1_000_000) if isinstance(m, Batch)]
        rows += [n for batch in batches for n in batch.collected()["n"]]
    return rows


# -- who runs what -------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_every_subtask_runs_in_one_worker_and_no_worker_has_two_of_a_vertex(parallelisms):
    vertices = tuple(Vertex(f"v{n}", None, (), None, size) for n, size in enumerate(parallelisms))
    graph = JobGraph(vertices, ())
    shares = [share(graph, worker) for worker in range(max(parallelisms))]
    assert sorted((v.id, s) for one in shares for v, s in one) == sorted(
        (v.id, subtask) for v in vertices for subtask in range(v.parallelism)
    )
    for one in shares:
        assert one
        assert len({vertex.id for vertex, _ in one}) == len(one)
        assert [vertex.id for vertex, _ in one] == sorted(vertex.id for vertex, _ in one)


# -- recordings ----------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_again_is_recorded_in_a_folder_of_its_own(tmp_path):
    live = Live("live", SCHEMA)
    graph = JobGraph(
        (Vertex("a", live, (), None, 1), Vertex("b", live, (), None, 1), Vertex("c", SOURCE, (), None, 1)), ()
    )
    sources = [vertex.source for vertex in with_recordings(graph, tmp_path, JobOptions("job")).vertices]
    assert [type(source) for source in sources] == [RecordedSource, RecordedSource, SplitFrames]
    assert sources[2] is SOURCE
    folders = {source.folder for source in sources[:2]}
    assert folders == {str(recording_folder(tmp_path, vertex)) for vertex in ("a", "b")}
    assert len(folders) == 2
    assert (sources[0].limit_bytes, sources[0].limit) == (10 * 2**30, None)
    options = JobOptions("job", recording_limit_bytes=1_000_000, recording_limit_ms=90_000)
    limited = with_recordings(graph, tmp_path, options).vertices[0].source
    assert (limited.limit_bytes, limited.limit.us) == (1_000_000, 90_000_000)


@given(st.text(max_size=60), st.text(max_size=60))
def test_the_folder_of_a_recording_is_one_plain_name(first, second):
    paths = [recording_folder(Path("/job"), vertex) for vertex in (first, second)]
    assert (paths[0] == paths[1]) == (first == second)
    for path in paths:
        assert path.parent.parent == Path("/job")
        assert path.name.isascii()
        assert not path.name.startswith(".")


# -- where tasks start ---------------------------------------------------------------------------------------------


def test_from_the_beginning_everything_is_read_and_nothing_committed():
    sink = Noted()
    assert numbers_read(built(sink, "read", 0, 1, origin(None))) == [*range(10)] * 3
    task = built(sink, "write", 0, 1, origin(None))
    assert (task.reader, task.task.finished) == (None, False)
    (context,) = sink.said
    assert (context.restored, context.attempt, context.parallelism) == (None, 6, 1)
    assert (context.checkpoints, context.keep_checkpoints, context.step) == (True, 5, "noted")


@pytest.mark.parametrize("after", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_from_a_checkpoint_of_its_own_reading_goes_on_and_what_was_prepared_is_committed(before, after):
    sink, where = Noted(), origin(manifest(7, before))
    read = [n for subtask in range(after) for n in numbers_read(built(sink, "read", subtask, after, where))]
    assert sorted(read) == sorted([*range(4, 10)] * 3)
    for subtask in range(after):
        built(sink, "write", subtask, after, where)
    contexts = [said for said in sink.said if isinstance(said, SinkContext)]
    assert [context.restored for context in contexts] == [7] * after
    committed = [said for said in sink.said if not isinstance(said, SinkContext)]
    assert sorted(committed) == [(("file", f"of {subtask}"),) for subtask in range(before)]


def test_from_one_of_another_job_its_transactions_are_taken_over_and_counting_begins_anew():
    sink, where = Noted(), origin(manifest(7, 2), is_own=False)
    reading = built(sink, "read", 0, 1, where)
    assert sorted(numbers_read(reading)) == sorted([*range(4, 10)] * 3)
    writing = built(sink, "write", 0, 1, where)
    context, *taken = sink.said
    assert isinstance(context, SinkContext)
    assert context.restored is None
    assert taken == [("taken over", (("file", f"of {subtask}"),)) for subtask in range(2)]
    assert writing.task.counters.rows_out == 0


def test_a_replay_leaves_the_transactions_of_the_job_that_it_replays_alone():
    sink = Noted()
    replayed = Replayed("elsewhere", 7, ())
    built(sink, "write", 0, 1, origin(manifest(7, 2), is_own=False, replayed=replayed))
    assert [type(said) for said in sink.said] == [SinkContext]


def test_reading_ends_at_the_positions_of_another_checkpoint():
    until = manifest(9, 1, position=6)
    where = Origin({"read": SPLITS}, FaultyBlobs(), manifest(7, 2), is_own=False, until=until)
    reading = built(Noted(), "read", 0, 1, where)
    assert sorted(numbers_read(reading)) == [4, 4, 4, 5, 5, 5]
    assert reading.reader is not None
    assert reading.reader.reached


# -- what a worker is told -----------------------------------------------------------------------------------------


def job_folder(path: Path, **places: CheckpointPlace) -> JobFolder:
    path.mkdir()
    folder = JobFolder(path)
    meta = JobMeta(
        id=path.name, name="job", options=OPTIONS, created_us=0, client=None, sockets="", layout=Layout(1, ())
    )
    folder.write_meta(msgspec.structs.replace(meta, **places))
    return folder


def positions(where: Origin) -> set[object]:
    found = where.reader(graph_with(Noted(), 1).vertex("read"))
    return set() if found is None else {progress.position for progress in found.splits.values()}


def test_the_checkpoint_is_found_where_the_job_or_the_one_before_it_keeps_them(tmp_path):
    other = tmp_path / "other"
    for number, position in ((3, 2), (5, 8)):
        ManifestStore(open_blobs(other)).put(manifest(number, 1, position))
    place, until = CheckpointPlace(str(other), 3), CheckpointPlace(str(other), 5)
    folder = job_folder(tmp_path / "job", origin=place, until=until)
    ManifestStore(folder.checkpoint_blobs()).put(manifest(1, 1, 4))
    splits = {"read": SPLITS}

    assert positions(Origin.of(folder, Deploy(splits))) == set()
    assert positions(Origin.of(folder, Deploy(splits, from_origin=True))) == {2}
    own = Origin.of(folder, Deploy(splits, restored=1))
    assert positions(own) == {4}
    vertex = graph_with(Noted(), 1).vertex("read")
    bound = own.until(vertex)
    assert bound is not None
    assert {progress.position for progress in bound.splits.values()} == {8}
    assert [split.id for split in own.splits(vertex)] == ["0", "1", "2"]


def test_a_checkpoint_that_is_gone_is_named(tmp_path):
    folder = job_folder(tmp_path / "job")
    with pytest.raises(CheckpointError, match=r"checkpoints/0004/manifest\.json"):
        Origin.of(folder, Deploy({}, restored=4))
