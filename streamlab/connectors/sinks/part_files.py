"""Sinks that write files to a folder: every file that is visible is whole, and its rows are there once.

Rows are kept until a file is full, then written under a hidden name in the same folder and synced to disk. A commit
renames it. With checkpoints only a commit shows files, and their names say which checkpoint they belong to; without
them a file is shown as soon as it is full or old enough, and the last ones at the end. What an earlier attempt left
uncommitted is removed: with checkpoints when the first one of a later attempt is committed, for until then a recovery
may still have to show it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from streamlab.connectors.contracts.sink import Pending, SinkContext, SinkWriter
from streamlab.connectors.files.durable_files import BY_UMASK, make_folder, sync
from streamlab.connectors.sinks.shown_files import ShownFiles
from streamlab.core.errors import SinkError, explained
from streamlab.core.failpoints import reach

if TYPE_CHECKING:
    from streamlab.connectors.sinks.files import FolderSink

_HIDDEN = ".tmp"
_REMOVED = ""
"""In place of a file's visible name: it is to be removed."""
_NUMBER = re.compile(r"\d+")
_JOB, _STEP, _TARGET, _ROWS = "job", "step", "target", "rows"
_OWN_NAME = re.compile(r"\.part-[\w.-]+", re.ASCII)
_SHOWN_NAME = re.compile(r"part-[0-9a-f]+-c(\d+)-(\d+)-.*")
_JOB_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


class PartFileWriter(SinkWriter):
    """Writes the part files of one subtask.

    Parameters
    ----------
    sink
        The folder, the format, and when a file is full.
    context
        Where it runs.
    """

    def __init__(self, sink: FolderSink, context: SinkContext) -> None:
        self._sink = sink
        self._context = context
        self._waits = context.checkpoints
        # The job's folder and the step say whose files these are: several jobs may write to one folder.
        whose = hashlib.sha256(f"{context.folder}\0{context.step}".encode()).hexdigest()[:8]
        self._job = f"part-{whose}-"
        self._frames: list[pl.DataFrame] = []
        self._rows = self._bytes = 0
        self._rows_written = 0
        self._since_us: int | None = None
        self._nulled = 0
        self._written: list[str] = []
        self._swept = context.subtask != 0
        with self._explained("make"):
            make_folder(Path(sink.folder), BY_UMASK)
            names = os.listdir(sink.folder)
        self._next = self._first_number(names)
        if self._waits:
            self._check_not_behind(names)
        else:
            self._remove_all(self._leftovers())

    @property
    def values_nulled(self) -> int:
        """How many NaN and infinities became null."""
        return self._nulled

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        if not frame.height:
            return
        if not self._frames:
            self._sink.check_schema(frame.schema)
        self._frames.append(frame)
        self._nulled += self._sink.nulled(frame)
        self._rows += frame.height
        self._bytes += int(frame.estimated_size())
        if self._rows >= self._sink.roll_rows or self._bytes >= self._sink.roll_bytes:
            self._roll()
            self._show_rolled()
        else:
            self.flush()

    def prepare(self, checkpoint_id: int) -> Pending:
        """Write what is left; everything is then on disk under hidden names.

        The transaction also names what earlier attempts left, for its commit to remove.
        """
        self._roll()
        hidden, self._written = self._written, []
        rows, self._rows_written = self._rows_written, 0
        leftovers = self._leftovers()
        shown = [(name, self._shown(name, checkpoint_id)) for name in hidden]
        head: Pending = ()
        if hidden and self._waits:
            job, target = Path(self._context.folder).name, self._sink.folder
            head = ((_JOB, job), (_STEP, self._context.step), (_TARGET, target), (_ROWS, str(rows)))
        return (*head, *shown, *((name, _REMOVED) for name in leftovers))

    def commit(self, pending: Pending) -> None:
        """Rename the files; those that were renamed before are left alone."""
        marks, files, leftovers = self._read(pending)
        with self._explained("show files in"):
            self._show(marks, files, dict(pending).get(_ROWS, ""))
        self._remove_all(leftovers)

    def take_over(self, pending: Pending) -> None:
        """Rename those files of another job that are still hidden in this folder."""
        if dict(pending).get(_TARGET) != self._sink.folder:
            return
        marks, files, leftovers = self._read(pending)
        with self._explained("show files in"):
            hidden = [(name, final) for name, final in files if os.path.exists(self._path(name))]
            self._show(marks if marks is not None and marks.job_is_there else None, hidden, "")
        self._remove_all(leftovers)

    def abort(self, pending: Pending) -> None:
        """Remove the hidden files."""
        _, files, _ = self._read(pending)
        self._remove_all(hidden for hidden, _ in files)

    def flush(self) -> None:
        """Show rows that have waited long enough, when no checkpoint says when."""
        if self._waits or not self._frames:
            return
        now_us = self._clock_us()
        if self._since_us is None:
            self._since_us = now_us
        elif now_us - self._since_us >= self._sink.roll_age_us:
            self._roll()
            self._show_rolled()

    def close(self) -> None:
        """Forget what was not prepared; what was may still be committed."""
        self._frames = []
        hidden, self._written = self._written, []
        self._remove_all(hidden)

    # -- files ---------------------------------------------------------------------------------------------------

    def _roll(self) -> None:
        """Write the rows that are kept as a hidden file."""
        if not self._frames:
            return
        frame = pl.concat(self._frames)
        context = self._context
        hidden = f".{self._job}{context.attempt}-{context.subtask}-{self._next:06d}.{self._sink.suffix}{_HIDDEN}"
        with self._explained("write to"):
            try:
                with open(self._path(hidden), "wb") as file:
                    self._sink.encode(frame, file)
                    reach("sink.stage")
                    file.flush()
                    os.fsync(file.fileno())
                sync(Path(self._sink.folder))
            except BaseException:
                self._remove(hidden)
                raise
        self._next += 1
        self._rows_written += self._rows
        self._written.append(hidden)
        self._frames, self._rows, self._bytes, self._since_us = [], 0, 0, None

    def _show_rolled(self) -> None:
        if not self._waits:
            pending = tuple((name, self._shown(name, None)) for name in self._written)
            self._written = []
            self.commit(pending)

    def _shown(self, hidden: str, checkpoint: int | None) -> str:
        """Return the name under which a file is visible; with checkpoints it says which one it belongs to."""
        name = hidden.removeprefix(".").removesuffix(_HIDDEN)
        if not self._waits:
            return name
        return f"{self._job}c{checkpoint:06d}-{name.removeprefix(self._job).partition('-')[2]}"

    def _first_number(self, names: list[str]) -> int:
        """Return a number that no file of this attempt and subtask has."""
        mine = f"{self._job}{self._context.attempt}-{self._context.subtask}-"
        taken = (name.removeprefix(".").removeprefix(mine) for name in names if name.lstrip(".").startswith(mine))
        return max((int(number[0]) for number in map(_NUMBER.match, taken) if number), default=-1) + 1

    def _check_not_behind(self, names: list[str]) -> None:
        """Raise SinkError when the rows to come are in visible files already."""
        start = f"{self._job}c"
        shown = [_NUMBER.match(name.removeprefix(start)) for name in names if name.startswith(start)]
        begun = ShownFiles(Path(self._context.folder), self._context.step).newest()
        newest = max([begun, *(int(number[0]) for number in shown if number)])
        restored = self._context.restored or 0
        if newest > restored:
            needed = f"to go on from checkpoint {newest} or a later one, whose files are in {self._sink.folder!r}"
            got = f"checkpoint {restored}" if restored else "a start from the beginning"
            raise SinkError(
                explained(
                    self._sink.name,
                    needed=needed,
                    got=f"{got}: its rows would be there twice",
                    hint=f"write to another folder, or remove the files {start}… of checkpoints after {restored}",
                )
            )

    def _read(self, pending: Pending) -> tuple[ShownFiles | None, list[tuple[str, str]], list[str]]:
        """Return the marks of the job, the files to show and those to remove, of what :meth:`prepare` gave.

        Raises SinkError if it gave none such: the names must not lead out of the folder.
        """
        facts = {name: value for name, value in pending if name in {_JOB, _STEP, _TARGET, _ROWS}}
        names = [(hidden, final) for hidden, final in pending if hidden not in facts]
        visible = [f".{final}" for _, final in names if final != _REMOVED]
        own = all(_OWN_NAME.fullmatch(name) for name in (*(hidden for hidden, _ in names), *visible))
        if not own or (facts and not _JOB_NAME.fullmatch(facts.get(_JOB, ""))):
            needed = "a transaction that this sink prepared"
            raise SinkError(explained(self._sink.name, needed=needed, got=repr(pending)))
        jobs = Path(self._context.folder).parent
        marks = ShownFiles(jobs / facts[_JOB], facts.get(_STEP, self._context.step)) if facts else None
        return (
            marks,
            [(hidden, final) for hidden, final in names if final != _REMOVED],
            [hidden for hidden, final in names if final == _REMOVED],
        )

    def _show(self, marks: ShownFiles | None, files: list[tuple[str, str]], rows: str) -> None:
        """Rename files. Raises SinkError if one is gone that nobody can have seen under its visible name."""
        if not files:
            return
        is_first = self._begin(marks, files, rows)
        try:
            for hidden, final in files:
                if os.path.exists(self._path(hidden)):
                    os.replace(self._path(hidden), self._path(final))
                elif is_first and not os.path.exists(self._path(final)):
                    raise self._gone(hidden, final, rows)
                reach("sink.publish")
            sync(Path(self._sink.folder))
        except FileNotFoundError as error:
            # The folder itself has gone under it.
            if is_first:
                raise self._gone(*files[-1], rows) from error
            raise

    def _begin(self, marks: ShownFiles | None, files: list[tuple[str, str]], rows: str) -> bool:
        """Say that the files are about to be shown, and return whether that was not said before.

        Raises SinkError if one is gone although it was not.
        """
        found = _SHOWN_NAME.fullmatch(files[0][1])
        checkpoint, subtask = (int(found[1]), int(found[2])) if found else (0, 0)
        if marks is not None and marks.has_begun(subtask, checkpoint):
            return False
        for hidden, final in files:
            if not os.path.exists(self._path(hidden)) and not os.path.exists(self._path(final)):
                raise self._gone(hidden, final, rows)
        if marks is not None:
            marks.begin(subtask, checkpoint)
        return True

    def _gone(self, hidden: str, final: str, rows: str) -> SinkError:
        """Return the error for a file that somebody has removed before it was shown, which names the rows."""
        found = _SHOWN_NAME.fullmatch(final)
        since = f" between checkpoint {int(found[1])} and the one before" if found else ""
        which = f"the {int(rows):,} rows" if rows.isdecimal() else "the rows"
        got = f"{hidden!r} in {self._sink.folder!r} is gone, and with it {which} written{since}"
        hint = "leave hidden files to the job; a start from an earlier one of job.checkpoints has the rows"
        return SinkError(explained(self._sink.name, needed="its own files untouched", got=got, hint=hint), lasting=True)

    def _leftovers(self) -> list[str]:
        """Return what earlier attempts of this job left hidden: once, and to one subtask only."""
        if self._swept:
            return []
        self._swept = True
        mine = f".{self._job}"
        with self._explained("tidy"):
            names = [name for name in os.listdir(self._sink.folder) if name.startswith(mine) and name.endswith(_HIDDEN)]
        attempts = [(name, name.removeprefix(mine).partition("-")[0]) for name in names]
        return sorted(
            name for name, attempt in attempts if attempt.isdecimal() and int(attempt) < self._context.attempt
        )

    def _remove_all(self, names: Iterable[str]) -> None:
        with self._explained("tidy"):
            for name in names:
                self._remove(name)

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self._sink.folder, name)

    def _clock_us(self) -> int:
        """Return the file system's time: a writer has no clock of its own."""
        os.utime(self._sink.folder)
        return os.stat(self._sink.folder).st_mtime_ns // 1000

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            needed = f"to {verb} the folder {self._sink.folder!r}"
            got = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise SinkError(explained(self._sink.name, needed=needed, got=got)) from error
