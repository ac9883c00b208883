"""How a source reader cut its rows into batches, kept so that a replay cuts them in the same way.

Which rows make a batch can depend on the clock, and so does in which order splits are read: how many early results
come, what a function sees, and, with several splits, which rows are late depends on that. So a reader notes after each
batch how far every split had been given out, which splits had ended, and which had become idle. A replay that follows
these notes gives the same batches and the same watermarks.

Notes lie in a folder for each subtask of a source (see :mod:`.sections`). What is missing is cut by the clock again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from streamlab.connectors.reading.replays.checkpoint_notes import SectionWriter, read_section

FOLDER = "cuts"
"""Folder of a job that holds the notes of its sources."""
END_OF_NOTES = 2**62
"""Stands for the place where no more is known of what a reader did."""
_KIND = "cuts"
_LENGTH_BYTES = 4


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """What a reader did at one time.

    Attributes
    ----------
    parts : tuple[tuple[str, int], ...]
        Splits that rows of the batch came from, in order, each with how many of its rows had been given out then.
    finished : tuple[str, ...]
        Splits that ended.
    idle : tuple[str, ...]
        Splits that became idle after that.
    found : tuple[str, ...]
        Splits that it had found before.
    """

    parts: tuple[tuple[str, int], ...] = ()
    finished: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    found: tuple[str, ...] = ()


class _Head(msgspec.Struct, frozen=True):
    """What a file begins with; and what follows when the pace was changed."""

    parallelism: int
    paced: bool


class _Passed(msgspec.Struct, frozen=True):
    """A barrier: what follows is in the file of that checkpoint."""

    checkpoint: int


_Note = Cut | _Head | _Passed


class CutLog:
    """Writes the notes of one subtask in one attempt.

    Parameters
    ----------
    folder
        Of the subtask.
    attempt
        Attempt of the job.
    since
        Checkpoint that the attempt starts from; 0 for the beginning.
    parallelism, paced
        Of the source. How rows were read depends on them.
    """

    def __init__(self, folder: Path, attempt: int, since: int, *, parallelism: int, paced: bool) -> None:
        self._head = _Head(parallelism, paced)
        self._sections = SectionWriter(folder, _KIND, attempt, since)
        self._write(self._head)

    def note(self, cut: Cut) -> None:
        """Write down a cut."""
        self._write(cut)

    def passed(self, checkpoint_id: int) -> None:
        """Write down that a barrier was sent: what follows belongs to that checkpoint."""
        self._write(_Passed(checkpoint_id))
        self._sections.begin(checkpoint_id)
        self._write(self._head)

    def change_pace(self, *, paced: bool) -> None:
        """Write down whether rows are read ahead of a pace from now on, if that changes."""
        if paced != self._head.paced:
            self._head = msgspec.structs.replace(self._head, paced=paced)
            self._write(self._head)

    def forget_before(self, checkpoint_id: int) -> None:
        """Delete the notes of checkpoints before this one, which are no longer kept."""
        self._sections.forget_before(checkpoint_id)

    def close(self) -> None:
        """Close the file. May be called more than once."""
        self._sections.close()

    def _write(self, note: _Note) -> None:
        body = msgspec.msgpack.encode(note)
        self._sections.write(len(body).to_bytes(_LENGTH_BYTES, "little") + body)


class CutTrail:
    """Reads the notes of one subtask from a checkpoint on.

    Parameters
    ----------
    folders
        Of the subtask; of several the first one counts that has notes of a checkpoint.
    since
        The checkpoint.
    parallelism
        Of the reader that follows: the trail ends where there was another one.
    resumes
        Whether that reader has followed it before and went on from a checkpoint of its own.
    """

    def __init__(self, folders: Sequence[Path], since: int, *, parallelism: int, resumes: bool = False) -> None:
        self.paced = False
        """Whether rows were read ahead of a pace."""
        self.stop: int | None = None
        """The checkpoint behind which nothing is given, nor behind a later one; None: all is."""
        self.stopped: int | None = None
        """The checkpoint that it has stopped at."""
        self.section = since
        """The last checkpoint that it has come to."""
        self.found: list[str] = []
        """Splits that were found in what was passed over."""
        self._folders = folders
        self._parallelism = parallelism
        self._seeks = resumes
        self._cuts: deque[_Note] = deque()
        self._enter(since)

    def next(self, given: Callable[[str], int]) -> Cut | None:
        """Return the cut that comes next, the same until :meth:`advance`; None at the end, or where it is to stop.

        `given` says how many rows of a split have been given out, so that what was done before is passed over.
        """
        self.stopped = None
        while self._cuts:
            note = self._cuts[0]
            if isinstance(note, _Passed):
                if self.stop is not None and note.checkpoint >= self.stop and not self._seeks:
                    self.stopped = note.checkpoint
                    return None
                self._enter(note.checkpoint)
                continue
            if isinstance(note, _Head):
                self.paced = note.paced
                self.advance()
                continue
            is_new = any(rows > given(split) for split, rows in note.parts)
            if is_new or not (note.parts or self._seeks):
                self._seeks = False
                return note
            self.found += note.found
            self.advance()
        return None

    def advance(self) -> None:
        """Go on to the cut after this one."""
        self._cuts.popleft()

    def next_checkpoint(self, given: Callable[[str], int]) -> int:
        """Return the next checkpoint from here on, or `END_OF_NOTES`; `given` as for :meth:`next`."""
        if self._seeks:
            self.next(given)
        return next((note.checkpoint for note in self._cuts if isinstance(note, _Passed)), END_OF_NOTES)

    def _enter(self, since: int) -> None:
        self._cuts.clear()
        self.section = since
        records = _records(read_section(self._folders, _KIND, since))
        try:
            known = msgspec.msgpack.decode(next(records, b""), type=_Head)
            if known.parallelism != self._parallelism:
                return
            self.paced = known.paced
            self._cuts.extend(map(_note, records))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return  # what is damaged, and what follows it, is not known


def _note(record: bytes) -> _Note:
    """Return a note: cuts are arrays, the others maps."""
    if record[0] & 0xF0 == 0x90:  # noqa: PLR2004 - msgpack's code of a short array
        return msgspec.msgpack.decode(record, type=Cut)
    said = msgspec.msgpack.decode(record, type=dict[str, int | bool])
    return msgspec.convert(said, _Passed) if "checkpoint" in said else msgspec.convert(said, _Head)


def _records(data: bytes) -> Iterator[bytes]:
    """Give the records of a file; one that the end cuts short was never complete."""
    at = 0
    while at + _LENGTH_BYTES <= len(data):
        length = int.from_bytes(data[at : at + _LENGTH_BYTES], "little")
        at += _LENGTH_BYTES
        if not 0 < length <= len(data) - at:
            return
        yield data[at : at + length]
        at += length
