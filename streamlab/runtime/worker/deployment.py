"""What a worker runs: its share of the job graph as tasks, from the beginning or from a checkpoint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from streamlab.connectors.contracts.sink import SinkContext, SinkWriter
from streamlab.connectors.contracts.source import Split
from streamlab.connectors.formats.base import first_line
from streamlab.connectors.reading.discovery import BackgroundDiscovery, Discovery
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.replays.batch_log import FOLDER as CUTS
from streamlab.connectors.reading.replays.batch_log import CutLog, CutTrail
from streamlab.connectors.reading.replays.checkpoint_notes import keep_sections
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.connectors.recording.recorded import recorded
from streamlab.connectors.recording.recording import FOLDER
from streamlab.core.errors import CheckpointError, StreamlabError, explained
from streamlab.core.event_time.time import Duration
from streamlab.core.options import JobOptions
from streamlab.graph.job_graph import JobGraph, Vertex
from streamlab.graph.repeatable import has_turns
from streamlab.runtime.coordinator.placement import worker_count, worker_of
from streamlab.runtime.job_folder.folder import JobFolder, Replayed
from streamlab.runtime.messages.protocol import Deploy, Splits, Step
from streamlab.runtime.network.transport import Inbox
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_states import known_split, restored_reader, restored_task, split_of
from streamlab.runtime.task.task_values import Restored
from streamlab.runtime.worker.input_order_log import FOLDER as TURNS
from streamlab.runtime.worker.input_order_log import TurnLog, TurnTrail
from streamlab.runtime.worker.inputs import Inputs
from streamlab.runtime.worker.task_runner import TaskRunner
from streamlab.state.checkpoints.blobs import Blobs, open_blobs
from streamlab.state.checkpoints.manifest import Manifest, TaskOrder
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.state_files import StateFiles

KEPT_NOTES = "replayed"
"""Folder of a replay that holds notes of the job that it replays."""


@dataclass(frozen=True)
class Place:
    """Where tasks run.

    Attributes
    ----------
    folder : str
        The job's folder.
    attempt : int
        Attempt of the job.
    options : JobOptions
        Of the job.
    takes_notes : bool
        Whether tasks note for replays how they cut rows into batches, and in which order they took their inputs.
    discovery : type[Discovery]
        How sources that discover splits are asked for them.
    """

    folder: str
    attempt: int
    options: JobOptions
    takes_notes: bool = False
    discovery: type[Discovery] = BackgroundDiscovery


@dataclass(frozen=True)
class BuiltTask:
    """A task, the reader and writer that it drives, if it has them, and the notes of its turns, if there are any.

    Inputs whose watermarks have reached `until_us` give nothing any more.
    """

    task: Task
    reader: SteppedReader | None
    writer: SinkWriter | None
    turns: TurnLog | None = None
    trail: TurnTrail | None = None
    until_us: int | None = None
    batch_rows: int = 500_000

    def runner(self, inboxes: Sequence[Inbox], **given: Any) -> TaskRunner:
        """Return what runs it, with the receiving ends of its channels and what else a runner takes."""
        inputs = Inputs(self.task, inboxes, self.turns, self.trail, until_us=self.until_us, batch_rows=self.batch_rows)
        return TaskRunner(self.task, reader=self.reader, writer=self.writer, inputs=inputs, **given)


class Origin:
    """Where the tasks of an attempt start: a checkpoint, or the beginning.

    Parameters
    ----------
    splits
        The splits of each source, by vertex.
    blobs, manifest
        The checkpoint; None for the beginning.
    until
        The checkpoint whose positions sources read to; None: they read on.
    until_us
        The event time that sources read to; None: they read on.
    is_own
        Whether it is one of the job itself. What sinks had prepared for it is committed then; of one of another job it
        is taken over, unless that job is replayed.
    replayed
        The job that is replayed, and from where.
    folder
        Of the job, in which a replay keeps notes of that one.
    """

    def __init__(
        self,
        splits: Splits,
        blobs: Blobs,
        manifest: Manifest | None,
        *,
        is_own: bool,
        until: Manifest | None = None,
        until_us: int | None = None,
        replayed: Replayed | None = None,
        folder: Path | None = None,
    ) -> None:
        self.until_us = until_us
        self._until = until
        self._replayed = replayed
        self._folder = folder
        self._splits = splits
        self._files = StateFiles(blobs)
        self._manifest = manifest
        self.is_own = is_own

    @classmethod
    def of(cls, folder: JobFolder, command: Deploy) -> Origin:
        """Return what a worker was told to start from.

        Raises
        ------
        CheckpointError
            If the checkpoint cannot be read; building a task raises it, too.
        """
        meta = folder.read_meta()
        origin, until = meta.origin, None
        if meta.until is not None:
            until = ManifestStore(open_blobs(meta.until.location)).get(meta.until.id)
        rest: dict[str, Any] = {
            "until": until,
            "until_us": meta.until_us,
            "replayed": meta.replayed,
            "folder": folder.path,
        }
        if command.from_origin and origin is not None:
            blobs = open_blobs(origin.location)
            manifest = ManifestStore(blobs).get(origin.id)
            return cls(command.splits, blobs, manifest, is_own=False, **rest)
        blobs = folder.checkpoint_blobs()
        own = ManifestStore(blobs).get(command.restored) if command.restored else None
        return cls(command.splits, blobs, own, is_own=True, **rest)

    def splits(self, vertex: Vertex) -> tuple[Split, ...]:
        """Return the splits of a vertex' source, cut as they were when it was read first."""
        splits = tuple(split_of(known) for known in self._splits[vertex.id])
        reader = self.reader(vertex)
        if vertex.source is None or reader is None:
            return splits
        return tuple(vertex.source.resumed(splits, reader.splits))

    def reader(self, vertex: Vertex) -> ReaderSnapshot | None:
        """Return how far a vertex' source had been read."""
        return None if self._manifest is None else restored_reader(self._manifest, vertex.id)

    def until(self, vertex: Vertex) -> ReaderSnapshot | None:
        """Return how far a vertex' source is to be read."""
        return None if self._until is None else restored_reader(self._until, vertex.id)

    def trail(self, vertex: Vertex, subtask: int) -> CutTrail | None:
        """Return how the job that is replayed cut a source's rows into batches."""
        if self._replayed is None:
            return None
        folders = self._noted(self._replayed, CUTS, vertex, subtask)
        return CutTrail(folders, self._replayed.checkpoint, parallelism=vertex.parallelism, resumes=self.is_own)

    def turns(self, vertex: Vertex, subtask: int, inputs: int, order: TaskOrder | None) -> TurnTrail | None:
        """Return in which order the job that is replayed took a task's inputs, if those are the same here."""
        if self._replayed is None or order is None or vertex.id not in self._replayed.repeats:
            return None
        skip = order.turns if self.is_own else 0
        if skip is None:
            return None
        folders = self._noted(self._replayed, TURNS, vertex, subtask)
        checkpoint, parallelism = self._replayed.checkpoint, vertex.parallelism
        return TurnTrail(folders, checkpoint, inputs=inputs, parallelism=parallelism, skip=skip)

    def _noted(self, replayed: Replayed, kind: str, vertex: Vertex, subtask: int) -> list[Path]:
        """Return where notes of a subtask are: those that the replay keeps, and in the other job's folder."""
        kept = [] if self._folder is None else [self._folder / KEPT_NOTES]
        return [notes_folder(place, kind, vertex.id, subtask) for place in (*kept, Path(replayed.folder))]

    def task(self, vertex: Vertex, subtask: int) -> Restored:
        """Return what a subtask starts from."""
        if self._manifest is None:
            return Restored()
        restored = restored_task(self._manifest, vertex, subtask, self._files, is_own=self.is_own)
        if self.is_own:
            return restored
        pending = () if self._replayed is not None else restored.pending
        repeats = self._replayed is not None and vertex.id in self._replayed.repeats
        order = restored.order if repeats else None
        return replace(restored, checkpoint_id=0, pending=pending, counters={}, order=order)


class Goals:
    """How far steps by hand may read: to the positions of a checkpoint, which is opened once."""

    def __init__(self) -> None:
        self._opened: tuple[str, int] = ("", 0)
        self._manifest: Manifest | None = None

    def of(self, step: Step, vertex: str) -> ReaderSnapshot | None:
        """Return the positions of a vertex' source, or None when nothing bounds the step.

        Raises
        ------
        CheckpointError
            If the checkpoint cannot be read.
        """
        if not step.checkpoint:
            return None
        if self._manifest is None or self._opened != (step.store, step.checkpoint):
            self._opened = step.store, step.checkpoint
            self._manifest = ManifestStore(open_blobs(step.store)).get(step.checkpoint)
        return restored_reader(self._manifest, vertex)


def listed_splits(graph: JobGraph, known_sources: Collection[str]) -> Splits:
    """Ask the sources for their splits, those left out that discover them and are known to a checkpoint."""
    return {
        vertex.id: ()
        if source.discovers and vertex.id in known_sources
        else tuple(known_split(split) for split in source.splits())
        for vertex in graph.vertices
        if (source := vertex.source) is not None
    }


def share(graph: JobGraph, worker: int) -> list[tuple[Vertex, int]]:
    """Return the subtasks that run in a worker, in the order of the graph."""
    workers = worker_count(vertex.parallelism for vertex in graph.vertices)
    subtasks = ((vertex, subtask) for vertex in graph.vertices for subtask in range(vertex.parallelism))
    return [(vertex, subtask) for vertex, subtask in subtasks if worker_of(subtask, workers) == worker]


def recording_folder(folder: Path, vertex: str) -> Path:
    """Return where a job keeps the recording of a source."""
    return folder / FOLDER / _file_name(vertex)


def keep_notes(folder: Path, replay: Path, since: int) -> None:
    """Let a replay keep a job's notes from a checkpoint on, which that one may forget before the replay is there."""
    for kind in (CUTS, TURNS):
        keep_sections(folder / kind, replay / KEPT_NOTES / kind, since)


def notes_folder(folder: Path, kind: str, vertex: str, subtask: int) -> Path:
    """Return where a job keeps the notes of a subtask for replays."""
    return folder / kind / _file_name(vertex) / str(subtask)


def _file_name(vertex: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", vertex)[:40]
    return f"{readable}-{hashlib.sha256(vertex.encode()).hexdigest()[:8]}"


def with_recordings(graph: JobGraph, folder: Path, options: JobOptions) -> JobGraph:
    """Return the graph with sources that cannot be read again recorded first, each in a folder of its own."""
    limit_bytes, limit_ms = options.recording_limit_bytes, options.recording_limit_ms
    limit = None if limit_ms is None else Duration.parse(f"{limit_ms}ms", name="recording_limit_ms")
    vertices = []
    for vertex in graph.vertices:
        source = vertex.source
        if source is not None:
            place = str(recording_folder(folder, vertex.id))
            source = recorded(source, place, limit_bytes=limit_bytes, limit=limit)
        vertices.append(replace(vertex, source=source))
    return replace(graph, vertices=tuple(vertices))


def build_task(graph: JobGraph, vertex: Vertex, subtask: int, origin: Origin, place: Place) -> BuiltTask:
    """Return a task that is ready to run; what a sink had prepared for the checkpoint is committed.

    Raises
    ------
    CheckpointError
        If a file of the checkpoint is missing or damaged, or holds no state that the steps can go on with.
    """
    restored = origin.task(vertex, subtask)
    reader = writer = None
    options = place.options
    if vertex.source is not None:
        reader = SteppedReader(
            vertex.source,
            origin.splits(vertex),
            subtask,
            vertex.parallelism,
            origin.reader(vertex),
            batch_rows=options.batch_rows,
            batch_ms=options.batch_ms,
            on_error=options.on_error or "dead_letter",
            until=origin.until(vertex),
            until_us=origin.until_us,
            cuts=_cut_log(vertex, subtask, restored, place) if place.takes_notes else None,
            trail=origin.trail(vertex, subtask),
            discovery=place.discovery,
        )
    if vertex.sink is not None:
        context = SinkContext(
            place.folder,
            subtask,
            vertex.parallelism,
            place.attempt,
            vertex.sink.name,
            checkpoints=options.checkpoint_every_ms is not None,
            restored=restored.checkpoint_id or None,
            keep_checkpoints=options.checkpoint_keep,
        )
        writer = vertex.sink.open(context)
        for pending in restored.pending:
            if origin.is_own:
                writer.commit(pending)
            else:
                writer.take_over(pending)
    sets_aside = options.on_error == "dead_letter"
    try:
        task = Task(graph, vertex.id, subtask, reader=reader, writer=writer, restored=restored, sets_aside=sets_aside)
    except (Exception, pl.exceptions.PanicException) as error:
        if not restored.operators or isinstance(error, StreamlabError):
            raise
        steps = ", ".join(map(repr, restored.operators))
        got = f"something else ({type(error).__name__}: {first_line(error)})"
        step = f"going on from checkpoint {restored.checkpoint_id}" if origin.is_own else "from_savepoint"
        text = explained(step, needed=f"the state of {steps}", got=got, hint="streamlab has not written it so")
        raise CheckpointError(text) from error
    turns = trail = None
    if has_turns(graph, vertex):
        inputs = len(task.inputs)
        if place.takes_notes:
            folder = notes_folder(Path(place.folder), TURNS, vertex.id, subtask)
            since, parallelism = restored.checkpoint_id, vertex.parallelism
            turns = TurnLog(folder, place.attempt, since, inputs=inputs, parallelism=parallelism)
        trail = origin.turns(vertex, subtask, inputs, restored.order)
    # Where a user made the cuts, and sees them by what updates there are, batches stay apart.
    batch_rows = 1 if graph.keeps_cuts else options.batch_rows
    return BuiltTask(task, reader, writer, turns, trail, origin.until_us, batch_rows)


def _cut_log(vertex: Vertex, subtask: int, restored: Restored, place: Place) -> CutLog:
    folder = notes_folder(Path(place.folder), CUTS, vertex.id, subtask)
    paced = vertex.source is not None and vertex.source.timing.pace is not None
    since = restored.checkpoint_id
    return CutLog(folder, place.attempt, since, parallelism=vertex.parallelism, paced=paced)
