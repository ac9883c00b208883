"""Snapshots to files and back; what did not change since the last checkpoint is not looked at again."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from streamlab.state.checkpoints.former_formats import snapshot_as_now
from streamlab.state.checkpoints.manifest import StoredFrame, StoredState
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.state.snapshot import Snapshot


class SnapshotWriter:
    """Writes snapshots of one worker, one at a time.

    A frame is known by its identity: operators never change a frame that they have given out. It is held as long as it
    is known, so its identity is not used again meanwhile.
    """

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._known: dict[int, tuple[pl.DataFrame, StoredFrame]] = {}

    def write(self, snapshot: Snapshot) -> tuple[StoredState, int]:
        """Store all frames; return what names them, and the bytes that had to be written."""
        new_bytes = 0
        keyed: dict[str, tuple[StoredFrame, ...]] = {}
        for name, frames in snapshot.keyed.items():
            stored = []
            for frame in frames:
                known = self._known.get(id(frame))
                if known is None:
                    file, written = self._files.put(frame)
                    new_bytes += written
                    known = self._known[id(frame)] = (frame, file)
                stored.append(known[1])
            keyed[name] = tuple(stored)
        return StoredState(keyed, dict(snapshot.values), tuple(snapshot.key_columns)), new_bytes

    def forget_except(self, files: frozenset[StoredFrame]) -> None:
        """Forget the frames that are in none of these files: those of the last complete checkpoint.

        Any other file may be deleted from now on, so a frame of it must be stored again.
        """
        # A copy, because the next snapshot may be written in another thread just now.
        self._known = {key: known for key, known in list(self._known.items()) if known[1] in files}
        self._files.forget_except(files)


def read_snapshot(stored: StoredState, files: StateFiles, written_in: int) -> Snapshot:
    """Return a snapshot as it would be written now; a frame that it holds twice is read once.

    Parameters
    ----------
    stored
        What names its frames.
    files
        Where they are.
    written_in
        The format of the checkpoint that it is of.

    Raises
    ------
    CheckpointError
        Names the file, and what is the matter with it.
    """
    frames: Mapping[StoredFrame, pl.DataFrame] = {
        file: files.get(file) for file in dict.fromkeys(f for several in stored.keyed.values() for f in several)
    }
    keyed = {name: tuple(frames[file] for file in several) for name, several in stored.keyed.items()}
    return snapshot_as_now(Snapshot(keyed, dict(stored.values), tuple(stored.key_columns)), written_in)
