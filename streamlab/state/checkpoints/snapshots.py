"""Snapshots to files and back; what did not change since the last checkpoint is not looked at again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import polars as pl

from streamlab.state.checkpoints.former_formats import snapshot_as_now
from streamlab.state.checkpoints.manifest import StoredFrame, StoredState
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.state.snapshot import KEY_GROUPS, Snapshot, key_group_of

_PARTED_ROWS = 65_536
"""Rows from which on a frame is stored by key groups."""
_PART_GROUPS = 8
"""Key groups that share a file."""


class SnapshotWriter:
    """Writes snapshots of one worker, one at a time.

    A frame is known by its identity: operators never change a frame that they have given out. It is held as long as it
    is known, so its identity is not used again meanwhile. Of a large one each range of key groups has a file of its
    own, so that a subtask that goes on with some of the groups reads no others.
    """

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._known: dict[int, tuple[pl.DataFrame, tuple[StoredFrame, ...]]] = {}

    def write(self, snapshot: Snapshot) -> tuple[StoredState, int]:
        """Store all frames; return what names them, and the bytes that had to be written."""
        new_bytes = 0
        keyed: dict[str, tuple[StoredFrame, ...]] = {}
        for name, frames in snapshot.keyed.items():
            stored: list[StoredFrame] = []
            for frame in frames:
                known = self._known.get(id(frame))
                if known is None:
                    files, written = self._put(frame, snapshot.key_columns)
                    new_bytes += written
                    known = self._known[id(frame)] = (frame, files)
                stored += known[1]
            keyed[name] = tuple(stored)
        return StoredState(keyed, dict(snapshot.values), tuple(snapshot.key_columns)), new_bytes

    def forget_except(self, files: frozenset[StoredFrame]) -> None:
        """Forget the frames that are in none of these files: those of the last complete checkpoint.

        Any other file may be deleted from now on, so a frame of it must be stored again.
        """
        # A copy, because the next snapshot may be written in another thread just now.
        self._known = {key: known for key, known in list(self._known.items()) if files.issuperset(known[1])}
        self._files.forget_except(files)

    def _put(self, frame: pl.DataFrame, key_columns: Sequence[str]) -> tuple[tuple[StoredFrame, ...], int]:
        if frame.height < _PARTED_ROWS or not key_columns:
            stored, written = self._files.put(frame)
            return (stored,), written
        part = key_group_of(key_columns, frame.schema) // pl.lit(_PART_GROUPS, pl.UInt64)
        numbers = frame.select(part).to_series().to_numpy().astype(np.uint8)
        # Rows of one key stay in their order.
        ordered = frame[pl.Series(np.argsort(numbers, kind="stable").astype(np.uint32))]
        counts = np.bincount(numbers, minlength=KEY_GROUPS // _PART_GROUPS).tolist()
        files, first, new_bytes = [], 0, 0
        for number, count in enumerate(counts):
            if count:
                stored, written = self._files.put(ordered.slice(first, count))
                group = number * _PART_GROUPS
                files.append(msgspec.structs.replace(stored, first_group=group, end_group=group + _PART_GROUPS))
                new_bytes += written
                first += count
        return tuple(files), new_bytes


def read_snapshot(stored: StoredState, files: StateFiles, written_in: int, groups: range | None = None) -> Snapshot:
    """Return a snapshot as it was written; a frame that it holds twice is read once.

    Columns of ours are called as they are now, whatever they were called then.

    Parameters
    ----------
    stored
        What was written.
    files
        Where.
    written_in
        The format of the checkpoint that it is of.
    groups
        Key groups of which rows are wanted: files that have none of them are not read. None: of all.

    Raises
    ------
    CheckpointError
        Names the file, and what is the matter with it.
    """
    wanted = {
        name: [file for file in several if groups is None or _has_any(file, groups)]
        for name, several in stored.keyed.items()
    }
    frames: Mapping[StoredFrame, pl.DataFrame] = {
        file: files.get(file) for file in dict.fromkeys(file for several in wanted.values() for file in several)
    }
    keyed = {name: tuple(frames[file] for file in several) for name, several in wanted.items()}
    return snapshot_as_now(Snapshot(keyed, dict(stored.values), tuple(stored.key_columns)), written_in)


def _has_any(file: StoredFrame, groups: range) -> bool:
    return not file.end_group or (file.first_group < groups.stop and groups.start < file.end_group)
