"""The file in a job's folder that holds its figures over time: written by the coordinator, read by any client.

Frames of samples, one behind the other: four bytes of length, then msgpack. Now and then the file is replaced by one
that holds only what the ring still keeps. Samples are numbered, so a reader that finds another file goes on where it
was; it takes whole frames only, so the end of a file whose writer has died does no harm.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from streamlab.core.errors import StateError, explained
from streamlab.observe.history import BUDGET_BYTES, Ring, Sample, Sampler
from streamlab.observe.status import JobStatus
from streamlab.runtime.messages.pipes import FrameBuffer, framed
from streamlab.runtime.process.job_log import say

_NAME = "history"
_MOST_FRAME = 4 * 1024 * 1024
_MORE_BYTES = 500_000


class HistoryReader:
    """Reads a job's samples, each once, as they come.

    Parameters
    ----------
    folder
        The job's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._decoder = msgspec.msgpack.Decoder(Sample)
        self._file: tuple[int, int] | None = None
        self._frames = FrameBuffer(_MOST_FRAME)
        self._offset = 0
        self._number = 0

    def read_new(self) -> list[Sample]:
        """Return the samples that were not read before, oldest first.

        Raises
        ------
        StateError
            If the file is damaged.
        """
        try:
            with self._path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if self._file != (facts.st_dev, facts.st_ino):
                    self._file = facts.st_dev, facts.st_ino
                    self._frames, self._offset = FrameBuffer(_MOST_FRAME), 0
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        try:
            samples = [self._decoder.decode(frame) for frame in self._frames.feed(data)]
        except (msgspec.MsgspecError, ValueError) as error:
            text = explained("history", needed=f"a readable file {self._path}", got=str(error))
            raise StateError(text) from error
        new = [sample for sample in samples if sample.number > self._number]
        if new:
            self._number = new[-1].number
        return new


class HistoryWriter:
    """Keeps a job's samples, in memory and in the file; goes on where an earlier coordinator was.

    Nothing in here may end a job: what cannot be written is told in the coordinator's log, and left out.

    Parameters
    ----------
    folder
        The job's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        for unfinished in folder.glob(f".{_NAME}.*"):
            unfinished.unlink(missing_ok=True)
        try:
            known = HistoryReader(folder).read_new()
        except (StateError, OSError) as error:
            say(f"history begins anew: {error}")
            known = []
        self._ring = Ring(known)
        self._sampler = Sampler(known[-1] if known else None)
        self._encoder = msgspec.msgpack.Encoder()
        self._size = BUDGET_BYTES
        """Bytes in the file; so many that the first sample replaces whatever an earlier coordinator has left."""
        self._kept = 0
        self._said = ""

    def note(self, status: JobStatus) -> None:
        """Take a status: it becomes a sample unless the last one is too near."""
        sample = self._sampler.sample(status)
        if sample is None:
            return
        self._ring.add(sample)
        try:
            if self._size > self._kept + _MORE_BYTES:
                self._rewrite()
            else:
                self._append(sample)
        except OSError as error:
            # On a full disk the job itself has more to say; here the file is made whole as soon as that can be.
            self._size = self._kept + _MORE_BYTES + 1
            if str(error) != self._said:
                self._said = str(error)
                say(f"history: {error}")

    def _append(self, sample: Sample) -> None:
        data = framed(self._encoder.encode(sample))
        with self._path.open("ab") as file:
            file.write(data)
        self._size += len(data)

    def _rewrite(self) -> None:
        data = b"".join(map(framed, self._ring.encoded))
        aside = self._path.with_name(f".{_NAME}.{os.getpid()}")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
            aside.replace(self._path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        self._size = self._kept = len(data)
