"""What a savepoint takes along besides the checkpoint: the ends of recordings, so that another job can go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamlab.connectors.recording.recording_tail import Tail, is_recording, put_tail, tail_of
from streamlab.core.errors import CheckpointError, SourceError, explained
from streamlab.graph.job_graph import JobGraph
from streamlab.job.history.restoring import refused
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.task.task_states import restored_reader
from streamlab.runtime.worker.deployment import recording_folder
from streamlab.state.checkpoints.blobs import Blobs, open_blobs
from streamlab.state.checkpoints.contents import put_contents, read_contents
from streamlab.state.checkpoints.manifest import Manifest, StoredRecording
from streamlab.state.checkpoints.savepoints import copy_checkpoint


def save(handle: JobHandle, checkpoint_id: int, target: Blobs) -> Manifest:
    """Copy a checkpoint of a job, with what its recordings hold beyond it.

    Raises
    ------
    CheckpointError
        If the checkpoint or a recording is damaged or gone, or the target cannot be written to.
    """

    def recordings(manifest: Manifest) -> dict[str, StoredRecording]:
        found = {}
        for vertex in manifest.splits:
            folder = recording_folder(handle.folder.path, vertex)
            if is_recording(folder):
                found[vertex] = _stored(_tail(folder, manifest, vertex), target)
        return found

    return copy_checkpoint(handle.folder.checkpoint_blobs(), checkpoint_id, target, recordings)


def taking_up(location: str, manifest: Manifest) -> Callable[[JobFolder], None] | None:
    """Return what gives a new job the recordings of a savepoint, or of a job's own checkpoint; None without any."""
    beside = _beside(location, manifest)
    if not (manifest.recordings or beside):
        return None

    def take_up(folder: JobFolder) -> None:
        blobs = open_blobs(location)
        for vertex, recording in manifest.recordings.items():
            tail = {
                split: [(first, read_contents(blobs, stored)) for first, stored in parts]
                for split, parts in recording.items()
            }
            put_tail(recording_folder(folder.path, vertex), tail)
        for vertex, recorded in beside.items():
            put_tail(recording_folder(folder.path, vertex), _tail(recorded, manifest, vertex))

    return take_up


def _beside(location: str, manifest: Manifest) -> dict[str, Path]:
    """Return the recordings in the folder of the job whose checkpoint it is, by source."""
    folders = {vertex: recording_folder(Path(location), vertex) for vertex in manifest.splits}
    return {v: f for v, f in folders.items() if v not in manifest.recordings and is_recording(f)}


def check_live_sources(location: str, manifest: Manifest, graph: JobGraph, *, takes_checkpoints: bool) -> None:
    """Raise CheckpointError when a source that cannot be read again would go on without its recording."""
    there = manifest.recordings.keys() | _beside(location, manifest).keys()
    for vertex in graph.vertices:
        parts = [task.source for task in manifest.tasks if task.vertex == vertex.id]
        begun = any(part is not None and part.splits for part in parts)
        if vertex.source is None or vertex.source.replayable or not begun:
            continue
        got = hint = ""
        if vertex.id not in there:
            got, hint = "a checkpoint without it", "take one with job.savepoint(path) or job.stop(savepoint=path)"
        elif not takes_checkpoints:
            got, hint = "a job that records nothing", "start it with checkpoint_every=…"
        if got:
            needed = f"the recording of {vertex.id!r}, which cannot be read again"
            text = explained("from_savepoint", needed=needed, got=got, hint=hint)
            raise refused(text, manifest)


def _tail(folder: Path, manifest: Manifest, vertex: str) -> Tail:
    parts = [task.source for task in manifest.tasks if task.vertex == vertex and task.source is not None]
    try:
        positions = {split: at.position for part in parts for split, at in part.splits.items()}
        return tail_of(folder, positions, restored_reader(manifest, vertex).finished)
    except SourceError as error:
        raise CheckpointError(str(error), file=str(folder), matter="missing") from error


def _stored(tail: Tail, target: Blobs) -> StoredRecording:
    found: StoredRecording = {}
    for split, parts in tail.items():
        found[split] = tuple((first, put_contents(target, records)) for first, records in parts)
    return found
