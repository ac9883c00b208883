"""Rows of sink transactions that are not committed yet, as Arrow files in the job's folder.

A writer stages rows while it runs; ``prepare`` makes a transaction of what it has staged: durable on disk, and named by
the values that a checkpoint keeps. A commit reads the files into the target together with the id of the checkpoint,
and removes them. Whoever commits may be another writer in another process: everything it needs is in the transaction.

::

    <job>/staged/<step>/identity             random: what the marks in the target are kept under, next to the job's id
    <job>/staged/<step>/<attempt>-<subtask>-<number>.arrow

What an attempt staged without committing is removed with the first transaction of a later one, when that is committed:
by then all writers have committed what the restored checkpoint had pending.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from streamlab.connectors.contracts.sink import Pending, SinkContext
from streamlab.connectors.files.durable_files import BY_UMASK, make_folder, sync
from streamlab.core.errors import SinkError, explained
from streamlab.core.failpoints import reach

_FILE = re.compile(r"(\d+)-(\d+)-(\d+)\.arrow")
_JOB = re.compile(r"([\w][\w.-]*)/([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True)
class Transaction:
    """What one subtask wrote between two checkpoints.

    Attributes
    ----------
    job : str
        The job's id and what tells it from others of that id.
    step : str
        Name of the sink's step.
    subtask, checkpoint : int
        Which writer, and the checkpoint that it ended with.
    files : tuple[str, ...]
        Names of the staged files, in the order in which their rows came.
    leftovers : tuple[str, ...]
        Files of earlier attempts that nobody will commit any more.
    target : str
        The place that the rows are meant for; empty when it was not noted.
    """

    job: str
    step: str
    subtask: int
    checkpoint: int
    files: tuple[str, ...]
    leftovers: tuple[str, ...] = ()
    target: str = ""

    def pending(self) -> Pending:
        """Return it as the values that a checkpoint keeps."""
        head = (
            ("job", self.job),
            ("step", self.step),
            ("subtask", str(self.subtask)),
            ("checkpoint", str(self.checkpoint)),
            ("target", self.target),
        )
        return (*head, *(("file", name) for name in self.files), *(("leftover", name) for name in self.leftovers))

    @classmethod
    def of(cls, step: str, pending: Pending) -> Transaction:
        """Return the transaction that :meth:`pending` gave the values of. Raises SinkError if it gave none such."""
        facts = dict(pending)
        names: dict[str, list[str]] = {"file": [], "leftover": []}
        for kind, name in pending:
            names.get(kind, []).append(name)
        try:
            transaction = cls(
                facts["job"],
                facts["step"],
                int(facts["subtask"]),
                int(facts["checkpoint"]),
                tuple(names["file"]),
                tuple(names["leftover"]),
                facts.get("target", ""),
            )
        except (KeyError, ValueError):
            transaction = None
        # The names become paths: a checkpoint that somebody tampered with must not lead out of the folder.
        if (
            transaction is None
            or not _JOB.fullmatch(transaction.job)
            or not all(_FILE.fullmatch(name) for name in (*transaction.files, *transaction.leftovers))
        ):
            raise SinkError(explained(step, needed="a transaction that this sink prepared", got=repr(pending)))
        return transaction


def staged_folder(job: Path, step: str) -> Path:
    """Return where a job keeps what one of its sinks has not finished."""
    return job / "staged" / hashlib.sha256(step.encode()).hexdigest()[:12]


class Staging:
    """The staged files of one sink, as one writer sees them.

    Parameters
    ----------
    context
        Where the writer runs.
    """

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        job = Path(context.folder)
        self._jobs = job.parent
        self._folder = staged_folder(job, context.step)
        self._files: list[str] = []
        self._swept = context.subtask != 0
        with self._explained("make"):
            make_folder(self._folder, BY_UMASK)
            mine = (context.attempt, context.subtask)
            taken = [int(match[3]) for match in self._staged() if (int(match[1]), int(match[2])) == mine]
            self._next = max(taken, default=-1) + 1
            self.job = f"{job.name}/{self._identity()}"

    def add(self, frame: pl.DataFrame) -> None:
        """Put rows into a file of their own; it is durable when this returns."""
        name = f"{self._context.attempt}-{self._context.subtask}-{self._next}.arrow"
        path = self._folder / name
        with self._explained("write to"):
            try:
                with path.open("wb") as file:
                    frame.write_ipc(file, compression="lz4")
                    reach("sink.stage")
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        self._next += 1
        self._files.append(name)

    def prepare(self, checkpoint_id: int, target: str) -> Pending:
        """Return what commits all that was added since the last time; empty when that is nothing."""
        with self._explained("read"):
            leftovers = self._leftovers()
            files, self._files = tuple(self._files), []
            if not files and not leftovers:
                return ()
            sync(self._folder)
        context = self._context
        transaction = Transaction(self.job, context.step, context.subtask, checkpoint_id, files, leftovers, target)
        return transaction.pending()

    def holds(self, transaction: Transaction) -> bool:
        """Return whether the rows of a transaction are still staged; those of a committed one are removed."""
        return all(path.exists() for path in self._paths(transaction, transaction.files))

    def frames(self, transaction: Transaction) -> Iterator[pl.DataFrame]:
        """Yield the rows of a transaction, file by file. Raises SinkError if one is gone."""
        for path in self._paths(transaction, transaction.files):
            if not path.exists():
                text = f"{str(path)!r}, written for checkpoint {transaction.checkpoint}, is gone"
                raise SinkError(explained(self._context.step, needed="its own files untouched", got=text))
            with self._explained("read"):
                frame = pl.read_ipc(path.read_bytes())
            yield frame

    def remove(self, transaction: Transaction) -> None:
        """Remove the files of a transaction that is committed or aborted."""
        with self._explained("tidy"):
            for path in self._paths(transaction, transaction.files):
                path.unlink(missing_ok=True)

    def remove_leftovers(self, transaction: Transaction) -> None:
        """Remove what earlier attempts left behind; the transaction's checkpoint must be complete."""
        with self._explained("tidy"):
            for path in self._paths(transaction, transaction.leftovers):
                path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what was added but not prepared."""
        files, self._files = self._files, []
        with self._explained("tidy"):
            for name in files:
                (self._folder / name).unlink(missing_ok=True)

    def _leftovers(self) -> tuple[str, ...]:
        """Return the files of earlier attempts, once, and to one subtask only."""
        if self._swept:
            return ()
        self._swept = True
        return tuple(sorted(match[0] for match in self._staged() if int(match[1]) < self._context.attempt))

    def _staged(self) -> list[re.Match[str]]:
        return [match for match in map(_FILE.fullmatch, os.listdir(self._folder)) if match]

    def _identity(self) -> str:
        """Return what the first writer of the job drew by lot: ids of jobs are short, and databases are shared."""
        path = self._folder / "identity"
        if not path.exists():
            draft = self._folder / f".identity-{secrets.token_hex(8)}"
            with draft.open("x") as file:
                file.write(secrets.token_hex(16))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another subtask was first
                os.link(draft, path)
            draft.unlink()
            sync(self._folder)
        return path.read_text()

    def _paths(self, transaction: Transaction, names: tuple[str, ...]) -> list[Path]:
        """Return where files are: a savepoint may bring a transaction of another job."""
        folder = staged_folder(self._jobs / transaction.job.partition("/")[0], transaction.step)
        return [folder / name for name in names]

    @contextlib.contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            needed = f"to {verb} the folder {str(self._folder)!r}"
            got = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise SinkError(explained(self._context.step, needed=needed, got=got)) from error
