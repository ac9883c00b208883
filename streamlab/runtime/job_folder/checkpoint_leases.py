"""Checkpoints of other jobs that a job needs: where it starts from, and where it ends. Nobody may delete them.

The client that starts the job holds them first, in the job's name; the coordinator takes that over, together with its
guardian: when one of the two is killed, they are still held, until the next coordinator takes them over in turn.
"""

from __future__ import annotations

import msgspec

from streamlab.core.errors import CheckpointError
from streamlab.core.process_id import ProcessId
from streamlab.runtime.job_folder.folder import CheckpointPlace, JobFolder
from streamlab.runtime.process.job_log import say
from streamlab.state.checkpoints.blobs import open_blobs
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore

_COPY = "origin.json"


class HeldCheckpoints:
    """See the module.

    Parameters
    ----------
    folder
        Of the job that needs them.
    origin, until
        Where it starts from, and where it ends, if there are such places.
    """

    def __init__(self, folder: JobFolder, origin: CheckpointPlace | None, until: CheckpointPlace | None) -> None:
        self._folder = folder
        self._places = [place for place in (until, origin) if place is not None]
        self._copy = folder.path / _COPY

    def hold(self, *processes: ProcessId | None) -> Manifest | None:
        """Hold them as long as one of the processes runs, and return the one that the job starts from.

        A job that has begun does not depend on that one any more, once it has checkpoints of its own: when it cannot
        be reached, its manifest is what the job has kept of it.

        Raises
        ------
        CheckpointError
            If one is not there, or somebody is deleting it just now, and the job has not begun.
        """
        known = [process for process in processes if process is not None]
        origin = None
        for place in self._places:
            try:
                origin = _store(place).hold(place.id, self._folder.id, known)
            except CheckpointError as error:
                if not self._copy.exists():
                    raise
                say(str(error))
                origin = msgspec.json.decode(self._copy.read_bytes(), type=Manifest)
        return origin

    def keep_copy(self, origin: Manifest | None) -> None:
        """Keep the manifest of the checkpoint that the job starts from: it may be gone when it is asked for again."""
        if origin is not None and not self._copy.exists():
            aside = self._copy.with_suffix(".aside")
            aside.write_bytes(msgspec.json.encode(origin))
            aside.replace(self._copy)

    def release(self) -> None:
        """Let go of them."""
        for place in self._places:
            try:
                _store(place).release(place.id, self._folder.id)
            except CheckpointError as error:
                # What is held by processes that have ended is not held.
                say(str(error))


def _store(place: CheckpointPlace) -> ManifestStore:
    return ManifestStore(open_blobs(place.location))
