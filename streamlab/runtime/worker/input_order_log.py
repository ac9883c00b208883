"""In which order a task took the messages of its inputs, noted so that a replay takes them in the same order.

Order is kept within a channel and nowhere else: which of two inputs comes first is left to chance, and with it what is
late at a window, which row is the first of a group, how floats add up. So a task notes its turns: from which input a
batch, a watermark, idleness or an end was taken. Watermarks are noted with their values, since one that waits is
replaced by the next. What says nothing new (see :meth:`.Task.is_known`) has no turn, and neither have barriers: a
replay's own lie elsewhere.

A turn is on record before what follows from it is sent. So whatever the notes of a task speak of, those of the tasks
before it speak of too, wherever the job's processes ended; and a replay that follows them cannot come to a standstill,
since the job itself went this way with the same credit.

Notes lie in a folder for each subtask (see :mod:`.checkpoint_notes`), in records of one length.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from streamlab.connectors.reading.replays.checkpoint_notes import SectionWriter, read_section
from streamlab.core.messages import Batch, End, Idle, Message, Watermark

FOLDER = "turns"
"""Folder of a job that holds the notes of its tasks."""
_KIND = "turns"
_RECORD = struct.Struct("<cHq")
_HEAD, _PASSED = b"H", b"P"
_BATCH, _WATERMARK, _IDLE, _END = b"B", b"W", b"I", b"E"
_KINDS: dict[type, bytes] = {Batch: _BATCH, Watermark: _WATERMARK, Idle: _IDLE, End: _END}


class Turn(NamedTuple):
    """A message that was taken.

    Attributes
    ----------
    kind : bytes
        Of the message.
    input : int
        Number of the input that it came from.
    us : int
        The watermark. Of a batch, how many more were taken with it as one; 0 for other messages.
    """

    kind: bytes
    input: int
    us: int

    @classmethod
    def of(cls, at: int, message: Message, batches: int = 0) -> Turn:
        """Return the turn in which a message is taken from an input: of rows, so many batches as one."""
        us = message.us if isinstance(message, Watermark) else max(0, batches - 1)
        return cls(_KINDS[type(message)], at, us)

    @property
    def batches(self) -> int:
        """How many batches were taken as one; 0 when something else was taken."""
        return self.us + 1 if self.kind == _BATCH else 0

    @property
    def is_watermark(self) -> bool:
        """Whether a watermark was taken."""
        return self.kind == _WATERMARK


class TurnLog:
    """Writes the turns of one subtask in one attempt.

    Parameters
    ----------
    folder
        Of the subtask.
    attempt
        Attempt of the job.
    since
        Checkpoint that the attempt starts from; 0 for the beginning.
    inputs, parallelism
        How many inputs the task has, and how many subtasks its vertex.
    """

    def __init__(self, folder: Path, attempt: int, since: int, *, inputs: int, parallelism: int) -> None:
        self._head = _RECORD.pack(_HEAD, inputs, parallelism)
        self._sections = SectionWriter(folder, _KIND, attempt, since)
        self._sections.write(self._head)

    def note(self, turn: Turn) -> None:
        """Write down a turn, before anything follows from it."""
        self._sections.write(_RECORD.pack(*turn))

    def passed(self, checkpoint_id: int) -> None:
        """Write down that the task's state was taken: what follows belongs to that checkpoint."""
        self._sections.write(_RECORD.pack(_PASSED, 0, checkpoint_id))
        self._sections.begin(checkpoint_id)
        self._sections.write(self._head)

    def forget_before(self, checkpoint_id: int) -> None:
        """Delete the notes of checkpoints before this one, which are no longer kept."""
        self._sections.forget_before(checkpoint_id)

    def close(self) -> None:
        """Close the file. May be called more than once."""
        self._sections.close()


class TurnTrail:
    """Reads the turns of one subtask from a checkpoint on.

    Parameters
    ----------
    folders
        Of the subtask; of several the first one counts that has notes of a checkpoint.
    since
        The checkpoint.
    inputs, parallelism
        Of the task that follows: the trail ends where there were others.
    skip
        Turns that it has followed before and goes on after.
    """

    def __init__(self, folders: Sequence[Path], since: int, *, inputs: int, parallelism: int, skip: int = 0) -> None:
        self.followed = skip
        """Turns that were followed since the checkpoint."""
        self._folders = folders
        self._head = _RECORD.pack(_HEAD, inputs, parallelism)
        self._inputs = inputs
        self._data = b""
        self._at = 0
        self._enter(since)
        for _ in range(skip):
            if self.next() is None:
                break
            self._at += _RECORD.size

    def next(self) -> Turn | None:
        """Return the turn that comes next, the same until :meth:`advance`; None at the end of what is known."""
        while self._at + _RECORD.size <= len(self._data):
            kind, at, number = _RECORD.unpack_from(self._data, self._at)
            if kind == _PASSED:
                self._enter(number)
            elif kind in _KINDS.values() and at < self._inputs:
                return Turn(kind, at, number)
            else:
                break  # what is damaged, and what follows it, is not known
        return None

    def advance(self) -> None:
        """Go on to the turn after this one."""
        self._at += _RECORD.size
        self.followed += 1

    def _enter(self, since: int) -> None:
        data = read_section(self._folders, _KIND, since)
        self._data = data if data.startswith(self._head) else b""
        self._at = _RECORD.size
