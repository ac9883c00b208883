"""The thread that makes parts of checkpoints durable: in order, and with every failure told."""

from __future__ import annotations

import queue
import threading

import polars as pl
import pytest

from streamlab.core.errors import StateError
from streamlab.observe.status import TaskStatus
from streamlab.runtime.messages.protocol import Hello, SnapshotFailed, TaskFinished, TaskSnapshotted, WorkerEvent
from streamlab.runtime.task.task import Snapshotted
from streamlab.runtime.worker.checkpoint_thread import CheckpointThread
from streamlab.state.checkpoints.contents import FOLDER, file_name
from streamlab.state.checkpoints.snapshots import SnapshotWriter
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.state.snapshot import Snapshot
from streamlab.testing.faulty_blobs import FaultyBlobs

HELLO = Hello("folder", worker=1, attempt=3, key=b"", graph="graph.pickle")
FRAME = pl.DataFrame({"k": ["a", "b"], "n": [1, 2]})
PATIENCE_S = 60
PENDING = ((("file", "a"),),)


def taken(checkpoint_id: int, *frames: pl.DataFrame, finished: bool = False) -> Snapshotted:
    states = {} if finished else {"count": Snapshot({"rows": frames}, {"at": checkpoint_id}, ("k",))}
    return Snapshotted(checkpoint_id, states, None, PENDING, finished, {"rows_in": 7})


class Events:
    """What the coordinator hears."""

    def __init__(self) -> None:
        self.queue: queue.Queue[WorkerEvent] = queue.Queue()

    def next(self) -> WorkerEvent:
        return self.queue.get(timeout=PATIENCE_S)


class Held(SnapshotWriter):
    """A writer that waits until it may go on."""

    def __init__(self, files: StateFiles) -> None:
        super().__init__(files)
        self.go_on = threading.Event()

    def write(self, snapshot):
        assert self.go_on.wait(PATIENCE_S)
        return super().write(snapshot)


@pytest.fixture
def events() -> Events:
    return Events()


def made(events: Events, writer: SnapshotWriter | None) -> CheckpointThread:
    return CheckpointThread(HELLO, events.queue.put, writer)


def test_a_part_is_reported_once_it_is_stored(events):
    blobs = FaultyBlobs()
    made(events, SnapshotWriter(StateFiles(blobs))).store("vertex", 2, taken(4, FRAME), 55)
    event = events.next()
    assert isinstance(event, TaskSnapshotted)
    assert (event.worker, event.attempt, event.checkpoint_id) == (1, 3, 4)
    part = event.state
    assert (part.vertex, part.subtask, part.alignment_us, part.finished) == ("vertex", 2, 55, False)
    assert (part.pending, part.counters) == (PENDING, {"rows_in": 7})
    (file,) = part.files
    assert StateFiles(blobs).get(file).equals(FRAME)
    assert part.new_bytes == file.size_bytes
    assert part.duration_us >= 0


def test_the_task_goes_on_meanwhile_and_its_end_comes_after_its_snapshots(events):
    writer = Held(StateFiles(FaultyBlobs()))
    thread = made(events, writer)
    thread.store("vertex", 0, taken(4, FRAME), 0)
    thread.store("vertex", 0, taken(5, FRAME), 0)
    thread.finish(taken(5, finished=True), TaskStatus(vertex="vertex", subtask=0, rows_in=9), 77)
    assert events.queue.empty()
    writer.go_on.set()
    heard = [events.next() for _ in range(3)]
    assert [type(event) for event in heard] == [TaskSnapshotted, TaskSnapshotted, TaskFinished]
    end = heard[-1]
    assert isinstance(end, TaskFinished)
    assert (end.status.rows_in, end.first_row_us, end.state.finished, end.state.pending) == (9, 77, True, PENDING)


class Store:
    """A thread whose parts are waited for, and the garbage collection between its checkpoints."""

    def __init__(self, events: Events) -> None:
        self.blobs = FaultyBlobs()
        self._thread = made(events, SnapshotWriter(StateFiles(self.blobs)))
        self._events = events

    def new_bytes(self, checkpoint_id: int, *frames: pl.DataFrame) -> int:
        self._thread.store("vertex", 0, taken(checkpoint_id, *frames), 0)
        event = self._events.next()
        assert isinstance(event, TaskSnapshotted)
        self._files = event.state.files
        assert all(self.blobs.has(file_name(file), file.size_bytes) for file in self._files)
        return event.state.new_bytes

    def complete(self, checkpoint_id: int) -> None:
        """Let only the files of the last part stay."""
        self._thread.complete(checkpoint_id)
        for name in set(self.blobs.names(FOLDER)) - {file_name(file) for file in self._files}:
            self.blobs.delete(name)


def test_what_did_not_change_is_not_written_again_as_long_as_it_is_sure_to_stay(events):
    store, other = Store(events), FRAME.with_columns(pl.col("n") + 10)
    assert store.new_bytes(1, FRAME) > 0
    assert store.new_bytes(2, FRAME) == 0
    store.complete(2)
    assert store.new_bytes(3, FRAME, other) > 0
    store.complete(3)
    assert store.new_bytes(4, FRAME) == 0
    store.complete(4)
    # The file of the other frame has been deleted.
    assert store.new_bytes(5, FRAME, other) > 0


def test_a_checkpoint_that_was_given_up_does_not_make_its_files_stay(events):
    store = Store(events)
    assert store.new_bytes(1, FRAME) > 0
    assert store.new_bytes(2) == 0
    store.complete(2)
    assert store.new_bytes(3, FRAME) > 0


class Broken(SnapshotWriter):
    def __init__(self, error: Exception) -> None:
        super().__init__(StateFiles(FaultyBlobs()))
        self._errors = [error]

    def write(self, snapshot):
        if self._errors:
            raise self._errors.pop()
        return super().write(snapshot)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(StateError("the disk is full"), "the disk is full"), (ValueError("odd"), "vertex: ValueError: odd")],
)
def test_a_failure_is_told_and_the_thread_goes_on(events, capsys, error, reason):
    thread = made(events, Broken(error))
    thread.store("vertex", 0, taken(4, FRAME), 0)
    thread.store("vertex", 0, taken(5, FRAME), 0)
    assert events.next() == SnapshotFailed(1, 3, 4, reason)
    assert isinstance(events.next(), TaskSnapshotted)
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, ValueError)


def test_in_a_job_without_checkpoints_nothing_waits_for_a_thread(events):
    before = threading.active_count()
    thread = made(events, None)
    assert threading.active_count() == before
    thread.finish(taken(1, finished=True), TaskStatus(vertex="vertex", subtask=0), None)
    event = events.queue.get_nowait()
    assert isinstance(event, TaskFinished)
    assert event.state.files == frozenset()
    thread.complete(1)
