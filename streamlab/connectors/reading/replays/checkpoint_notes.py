"""Notes of a task for replays: a file for each checkpoint and attempt, of what was done after that checkpoint.

Files lie in a folder of the task's own, ``<checkpoint>-<attempt>.<kind>``, and hold what happened up to the next
barrier. Of several attempts that went on from one checkpoint the last one counts. The files of checkpoints that are no
longer kept are deleted.

They are not synced: a power failure may cost the last notes, and a full disk those of a checkpoint. The job itself
never ends for that.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

LIMIT_BYTES = 64 * 2**20
"""How large a file may become: one checkpoint's notes."""
_NAME = re.compile(r"(\d+)-(\d+)\.([a-z]+)")


class SectionWriter:
    """Writes the notes of one task in one attempt.

    Parameters
    ----------
    folder
        Of the task.
    kind
        What is noted; the ending of the files' names.
    attempt
        Attempt of the job.
    since
        Checkpoint that the attempt starts from; 0 for the beginning.
    """

    def __init__(self, folder: Path, kind: str, attempt: int, since: int) -> None:
        self._folder, self._kind, self._attempt = folder, kind, attempt
        self._file: int | None = None
        self._bytes = 0
        self.begin(since)

    def begin(self, since: int) -> None:
        """Begin the file of a checkpoint; the one before is complete."""
        self.close()
        path = self._folder / f"{since:06d}-{self._attempt:06d}.{self._kind}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            self._file = None
        self._bytes = 0

    def write(self, record: bytes) -> None:
        """Append a record; after one that could not be written whole nothing more is, up to the next checkpoint."""
        if self._file is None:
            return
        self._bytes += len(record)
        try:
            whole = self._bytes <= LIMIT_BYTES and os.write(self._file, record) == len(record)
        except OSError:
            whole = False
        if not whole:
            self.close()

    def forget_before(self, checkpoint_id: int) -> None:
        """Delete the notes of checkpoints before this one, which are no longer kept."""
        for (since, _), path in _files(self._folder, self._kind).items():
            if since < checkpoint_id:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file. May be called more than once."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_section(folders: Sequence[Path], kind: str, since: int) -> bytes:
    """Return the notes of what followed a checkpoint, in the attempt that counts; empty when there are none.

    Of several folders the first one counts that has some.
    """
    for folder in folders:
        attempts = [(attempt, path) for (first, attempt), path in _files(folder, kind).items() if first == since]
        try:
            if attempts:
                return max(attempts)[1].read_bytes()
        except OSError:
            continue
    return b""


def keep_sections(folder: Path, target: Path, since: int) -> None:
    """Keep all notes below a folder that follow a checkpoint or a later one, however soon they are forgotten there.

    What is still being written goes on to grow in both places.
    """
    for path in folder.rglob("*"):
        found = _NAME.fullmatch(path.name)
        if found is None or int(found[1]) < since:
            continue
        kept = target / path.relative_to(folder)
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What is forgotten in this very moment, or lies on a disk without links, is read where it is as long as it is.
        with contextlib.suppress(OSError):
            os.link(path, kept)


def _files(folder: Path, kind: str) -> dict[tuple[int, int], Path]:
    """Return the files by checkpoint and attempt."""
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    found = ((_NAME.fullmatch(name), folder / name) for name in names)
    return {(int(m[1]), int(m[2])): path for m, path in found if m is not None and m[3] == kind}
