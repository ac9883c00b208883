"""Between a task and a checkpoint: what a task leaves becomes a stored part, and stored parts become a task again."""

from __future__ import annotations

from collections.abc import Iterable

from streamlab.connectors.contracts.source import Split
from streamlab.connectors.reading.finished_splits import FinishedSplits
from streamlab.connectors.reading.progress import ReaderSnapshot, SplitProgress, merge_snapshots
from streamlab.graph.job_graph import Vertex
from streamlab.runtime.task.task_values import Restored, Snapshotted
from streamlab.state.checkpoints.former_formats import has_key_groups
from streamlab.state.checkpoints.manifest import (
    KnownSplit,
    Manifest,
    StoredFinished,
    StoredSource,
    StoredSplit,
    StoredState,
    TaskState,
)
from streamlab.state.checkpoints.snapshots import SnapshotWriter, read_snapshot
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.state.snapshot import Snapshot, groups_of, regroup


def known_split(split: Split) -> KnownSplit:
    """Return a split as a plain value."""
    return KnownSplit(split.id, split.rows, split.min_time_us, split.first_time_us, split.bytes)


def split_of(known: KnownSplit) -> Split:
    """Return the split that a plain value stands for."""
    return Split(known.id, known.rows, known.min_time_us, known.first_time_us, known.bytes)


def stored_part(
    vertex: str, subtask: int, taken: Snapshotted, writer: SnapshotWriter | None, *, alignment_us: int = 0
) -> TaskState:
    """Store what a task left at a barrier, or at its end, and return the task's part of the checkpoint.

    The caller adds how long that took. Without a writer nothing is stored, as in a job without checkpoints.

    Raises
    ------
    StateError
        If it cannot be stored.
    """
    operators: dict[str, StoredState] = {}
    new_bytes = 0
    if writer is not None:
        for step, snapshot in taken.operators.items():
            operators[step], written = writer.write(snapshot)
            new_bytes += written
    return TaskState(
        vertex,
        subtask,
        operators,
        None if taken.source is None else _stored_source(taken.source),
        taken.pending,
        taken.finished,
        dict(taken.counters),
        taken.order,
        new_bytes,
        alignment_us,
    )


def restored_task(
    manifest: Manifest, vertex: Vertex, subtask: int, files: StateFiles, *, is_own: bool = True
) -> Restored:
    """Return what a subtask of a vertex starts from; the query may be cut into other vertices, or other subtasks.

    State is matched by the names of steps, wherever they ran; figures by the name of the vertex, which means nothing
    unless the checkpoint is one of the job's own (`is_own`). Transactions go to the sink that there is, wherever it
    ran; it knows whether those of another job are meant for its place.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged.
    """
    steps = {spec.step for spec in vertex.operators}
    same = [task for task in manifest.tasks if task.vertex == vertex.id]
    same_groups = has_key_groups(manifest)
    in_place = len(same) == vertex.parallelism and same_groups
    elsewhere = [task for task in manifest.tasks if task.vertex != vertex.id]
    in_place = in_place and not any(steps & task.operators.keys() for task in elsewhere)
    operators: dict[str, Snapshot] = {}
    for spec in vertex.operators:
        parts = [task for task in manifest.tasks if spec.step in task.operators]
        if in_place:
            parts = [task for task in parts if task.subtask == subtask]
        groups = groups_of(subtask, vertex.parallelism) if same_groups else None
        snapshots = [read_snapshot(part.operators[spec.step], files, manifest.format, groups) for part in parts]
        if snapshots:
            operators[spec.step] = snapshots[0] if in_place else regroup(snapshots, subtask, vertex.parallelism)
    heirs = _heirs(same, subtask, vertex.parallelism)
    mine = heirs if in_place else same
    # A sink may run in another vertex than before, with the steps before it or apart from them.
    writers = () if vertex.sink is None else _heirs(manifest.tasks, subtask, vertex.parallelism)
    return Restored(
        checkpoint_id=manifest.id,
        operators=operators,
        pending=tuple(pending for part in writers for pending in part.pending),
        finished=bool(mine) and all(part.finished for part in mine) if is_own else _had_ended(manifest, vertex),
        counters={
            name: sum(part.counters.get(name, 0) for part in heirs)
            for name in dict.fromkeys(name for part in heirs for name in part.counters)
        },
        order=heirs[0].order if in_place and heirs else None,
    )


def _heirs(tasks: Iterable[TaskState], subtask: int, parallelism: int) -> list[TaskState]:
    """Return what a subtask inherits of tasks of which there may have been more."""
    return [task for task in tasks if task.subtask % parallelism == subtask]


def _had_ended(manifest: Manifest, vertex: Vertex) -> bool:
    """Return whether what keeps state in a vertex had come to its end, in whichever vertices it ran."""
    names = {spec.step for spec in vertex.operators} | ({vertex.id} if vertex.source is not None else set())
    ran = {step.vertex for step in manifest.steps if step.name in names}
    parts = [task for task in manifest.tasks if task.vertex in ran]
    return bool(parts) and all(task.finished for task in parts)


def restored_reader(manifest: Manifest, vertex: str) -> ReaderSnapshot:
    """Return the progress of a source, of all its subtasks together."""
    parts = [part.source for part in manifest.tasks if part.vertex == vertex and part.source is not None]
    return merge_snapshots([_reader_snapshot(part) for part in parts])


def finished_of(source: StoredSource) -> FinishedSplits:
    """Return the splits that have ended and of which only that is known."""
    return FinishedSplits(source.finished.ranges, source.finished.packed)


def _stored_source(source: ReaderSnapshot) -> StoredSource:
    splits = {
        name: StoredSplit(one.position, one.skip, one.watermark_us, one.finished, one.rows, one.bytes)
        for name, one in source.splits.items()
    }
    finished = StoredFinished(dict(source.finished.ranges), source.finished.packed)
    found = None if source.found is None else tuple(map(known_split, source.found))
    return StoredSource(splits, source.watermark_us, source.latest_us, finished, found)


def _reader_snapshot(stored: StoredSource) -> ReaderSnapshot:
    splits = {
        name: SplitProgress(one.position, one.skip, one.watermark_us, one.finished, one.rows, one.bytes)
        for name, one in stored.splits.items()
    }
    finished = finished_of(stored)
    found = None if stored.found is None else tuple(map(split_of, stored.found))
    return ReaderSnapshot(splits, stored.watermark_us, stored.latest_us, finished, found)
