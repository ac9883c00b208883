"""The folder that a job lives in.

::

    <home>/jobs/j-20131231-8f3a2c/     0700
        meta.json                      what the job is: never changes
        graph.pickle, graph-<n>.pickle the job graph, and those of other parallelisms; read by the job's own workers
        graph-<n>.layout.json          what the coordinator must know of such a graph
        query.pickle                   the query that graphs are made of; read by clients of the same user
        processes.json                 the job's processes
        heir-<worker>.json             who goes on in place of a worker, if need be (see `heir`)
        coordinator.lock               held by the one coordinator that works here (see `folder_lock`)
        control.key                    authenticates clients; 0600
        status.json                    the latest JobStatus
        reserve                        space set aside so that the last status fits on a full disk
        log/                           what the processes printed
        results/<tag>/                 result table and side outputs (see `results`)
        history                        figures over time (see `history_file`)
        panes/                         the newest windows, while somebody looks (see `pane_files`)
        results/attempts.json          from which checkpoint each attempt started (see `attempts`)
        cuts/<source>/<subtask>/       how sources cut their rows into batches (see `connectors.cuts`)
        turns/<vertex>/<subtask>/      in which order tasks took their inputs (see `runtime.turns`)
        replayed/                      both, of the job that this one replays
        checkpoints/, state/, pins/    checkpoints, unless they are kept elsewhere (see `state.checkpoints`)

Files are replaced whole (written aside, then renamed), so a reader never sees half of one. Names given by users are
never used as paths. ``<home>`` is the environment variable STREAMLAB_HOME or the user's state folder.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import secrets
import shutil
import stat
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from streamlab.core.errors import OptionError, StateError, explained
from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure, JobState, JobStatus
from streamlab.runtime.job_folder.home import JOBS, is_private_folder, prepared_home, trusted_home
from streamlab.runtime.job_folder.job_processes import JobProcesses, works_in
from streamlab.runtime.messages.protocol import Layout
from streamlab.runtime.process.job_log import read_log
from streamlab.runtime.process.processes import ProcessId
from streamlab.state.checkpoints.blobs import Blobs, open_blobs

FORMAT = 1
_ID = re.compile(r"j-\d{8}-[0-9a-f]{6}")
_RESERVE_BYTES = 256 * 1024
_LEAST_ROOM = 1024 * 1024
_MAX_NAME = 100


class CheckpointPlace(msgspec.Struct, frozen=True):
    """Where a checkpoint is, from anywhere."""

    location: str
    """Folder or URL of the store."""
    id: int


class Replayed(msgspec.Struct, frozen=True):
    """The job that a replay repeats."""

    folder: str
    checkpoint: int
    """Where the replay begins."""
    repeats: tuple[str, ...]
    """Vertices whose inputs are the same as those of that job."""
    in_order: bool = False
    """Whether some of their tasks take their inputs in the order of that job."""


class JobMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is; written once."""

    format: int = FORMAT
    id: str
    name: str
    options: JobOptions
    created_us: int
    client: ProcessId | None
    sockets: str
    """Folder of the job's sockets."""
    layout: Layout
    """What the first attempt runs."""
    origin: CheckpointPlace | None = None
    """The checkpoint that it starts from."""
    until: CheckpointPlace | None = None
    """The checkpoint, of the same job as the origin, at whose positions it ends."""
    until_us: int | None = None
    """The event time at which it ends: when the watermarks of all its sources have reached it."""
    replayed: Replayed | None = None
    """The job that it replays."""
    plan: str = ""
    """The text of ``explain()``."""
    fingerprint: str = ""
    """Hash of the plan: the same plan gives the same rows."""
    engine: str = ""
    """Version of Polars."""


class ForeignFolder(StateError):
    """A folder of a job says what is not so: nothing is done that it says."""


class JobFolder:
    """One job's folder.

    Parameters
    ----------
    path
        Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.log = path / "log"
        self.results = path / "results"

    def read_meta(self) -> JobMeta:
        """Return what the job is. Raises StateError when the folder is not one that this version wrote."""
        try:
            meta = msgspec.json.decode(self._read("meta.json"), type=JobMeta)
        except (OSError, msgspec.MsgspecError) as error:
            text = explained(f"job {self.id}", needed="a readable meta.json", got=f"{type(error).__name__}: {error}")
            raise StateError(text) from error
        if meta.format != FORMAT:
            text = explained(f"job {self.id}", needed=f"a folder of format {FORMAT}", got=f"format {meta.format}")
            raise StateError(text)
        if meta.id != self.id or not _is_good_name(meta.name):
            needed, hint = "a meta.json of its own", "it was copied or made by hand, and is left alone"
            got = f"the id {meta.id!r} and the name {meta.name!r}"
            raise ForeignFolder(explained(f"job folder {self.path}", needed=needed, got=got, hint=hint))
        return meta

    def write_meta(self, meta: JobMeta) -> None:
        """Store what the job is."""
        self._replace("meta.json", msgspec.json.format(msgspec.json.encode(meta)))

    def read_status(self) -> JobStatus | None:
        """Return the latest status, or None before the first."""
        try:
            return msgspec.json.decode(self._read("status.json"), type=JobStatus)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            text = explained(f"job {self.id}", needed="a readable status.json", got=str(error))
            raise StateError(text) from error

    @property
    def is_full(self) -> bool:
        """Whether the disk has no room for a job to go on."""
        try:
            facts = os.statvfs(self.path)
        except OSError:
            return False
        return facts.f_bavail * facts.f_frsize < _LEAST_ROOM

    def write_status(self, status: JobStatus) -> None:
        """Store a status; a final one finds room even when the disk is full."""
        data = msgspec.json.encode(status)
        try:
            self._replace("status.json", data)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT} or not status.state.is_final:
                raise
            (self.path / "reserve").unlink(missing_ok=True)
            self._replace("status.json", data)

    def write_lost(self, reason: str) -> None:
        """Say in the status that the job failed because its coordinator is gone, unless it had ended before."""
        meta = self.read_meta()
        status = self.read_status() or JobStatus(
            id=meta.id, name=meta.name, state=JobState.STARTING, submitted_us=meta.created_us
        )
        if status.state.is_final:
            return
        now_us = time.time_ns() // 1000
        has_checkpoint = any(checkpoint.state == "complete" for checkpoint in status.checkpoints)
        going_on = "; frame.start(from_savepoint=job.checkpoints[-1]) goes on from its last checkpoint"
        hint = f"see job.log(){going_on if has_checkpoint else ''}"
        text = explained(f"job {meta.name}", needed="its coordinator to run", got=reason, hint=hint)
        failure = Failure(message=text, kind="WorkerLost")
        self.write_status(
            msgspec.structs.replace(status, state=JobState.FAILED, failure=failure, ended_us=now_us, reported_us=now_us)
        )

    def read_processes(self) -> JobProcesses | None:
        """Return the job's processes, or None before the coordinator has said so."""
        try:
            return msgspec.json.decode(self._read("processes.json"), type=JobProcesses)
        except (OSError, msgspec.MsgspecError):
            return None

    def write_processes(self, processes: JobProcesses) -> None:
        """Store the job's processes, so that clients and a coordinator that takes over know them."""
        self._replace("processes.json", msgspec.json.encode(processes))

    def write_heir(self, worker: int, heir: ProcessId) -> None:
        """Note who goes on with the job, if need be, in place of a worker that has lost its coordinator."""
        self._replace(f"heir-{worker}.json", msgspec.json.encode(heir))

    @property
    def has_heir(self) -> bool:
        """Whether a process runs that goes on with the job if nobody else does."""
        for path in self.path.glob("heir-*.json"):
            try:
                heir = msgspec.json.decode(self._read(path.name), type=ProcessId)
            except (OSError, msgspec.MsgspecError):
                continue
            if works_in(heir, self.path):
                return True
        return False

    def read_control_key(self) -> bytes:
        """Return the key that authenticates clients."""
        return self._read("control.key")

    def write_graph(self, pickled: bytes, name: str = "graph.pickle") -> None:
        """Store a pickled job graph."""
        self._replace(name, pickled)

    def read_graph(self, name: str) -> bytes:
        """Return a pickled job graph; only the job's own workers may understand it."""
        return self._read(name)

    def write_layout(self, layout: Layout) -> None:
        """Store what the coordinator must know of a graph, for one that takes the job over."""
        self._replace(_layout_name(layout.graph), msgspec.json.encode(layout))

    def read_layout(self, graph: str) -> Layout:
        """Return what the coordinator must know of a graph, by the name of its file."""
        return msgspec.json.decode(self._read(_layout_name(graph)), type=Layout)

    def write_query(self, pickled: bytes) -> None:
        """Store the pickled query, from which graphs of another parallelism are made."""
        self._replace("query.pickle", pickled)

    def read_query(self) -> bytes:
        """Return the pickled query. Raises StateError when the job has none."""
        try:
            return self._read("query.pickle")
        except FileNotFoundError as error:
            text = explained(f"job {self.id}", needed="its query, stored when it was started", got="none")
            raise StateError(text) from error

    def understand_query(self) -> Any:
        """Return the query that the job runs. Raises StateError when it has none, or that cannot be understood."""
        pickled = self.read_query()
        try:
            return pickle.loads(pickled)  # noqa: S301 - in the user's own private folder
        except Exception as error:  # whatever pickle makes of damaged bytes, and of those of other versions
            got = f"{type(error).__name__}: {error}"
            hint = "another version may have stored it: start(from_savepoint=…) goes on from its checkpoints"
            text = explained(f"job {self.id}", needed="its query, stored when it was started", got=got, hint=hint)
            raise StateError(text) from error

    def checkpoint_blobs(self) -> Blobs:
        """Return where the job keeps its checkpoints."""
        return open_blobs(self.checkpoint_location())

    def checkpoint_location(self) -> str:
        """Return the folder or URL of the job's checkpoints."""
        elsewhere = self.read_meta().options.checkpoint_store
        return str(self.path) if elsewhere is None else f"{elsewhere.rstrip('/')}/{self.id}"

    def black_box(self, worker: int) -> Path:
        """Return where a worker notes what it is doing."""
        return self.log / f"worker-{worker}.box"

    def fault_log(self, worker: int) -> Path:
        """Return where a worker's interpreter writes tracebacks when it crashes."""
        return self.log / f"worker-{worker}.fault"

    @property
    def coordinator_log(self) -> Path:
        """What the coordinator prints, and why attempts have failed."""
        return self.log / "coordinator.log"

    def worker_log(self, worker: int) -> Path:
        """Return where what a worker prints goes."""
        return self.log / f"worker-{worker}.log"

    def read_logs(self, newest: int | None = None) -> str:
        """Return what is kept of what the job's processes printed, coordinator first; the newest bytes of each only."""
        parts = []
        for path in sorted(self.log.glob("*.log")):
            text = read_log(path, newest)
            if text:
                parts.append(f"== {path.stem} ==\n{text.rstrip()}\n")
        return "\n".join(parts)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _prepare(self) -> None:
        self.path.mkdir(mode=0o700)
        self.log.mkdir(mode=0o700)
        self.results.mkdir(mode=0o700)
        self._replace("control.key", secrets.token_bytes(32))
        self._replace("reserve", os.urandom(_RESERVE_BYTES))

    def _read(self, name: str) -> bytes:
        """Return the bytes of a file; no link is followed, and nothing is waited for that is no plain file."""
        opened = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise OSError(errno.EINVAL, "it is no plain file", str(self.path / name))
            return file.read()

    def _replace(self, name: str, data: bytes) -> None:
        target = self.path / name
        aside = self.path / f".{name}.{os.getpid()}.{threading.get_ident()}"
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(data)
            aside.replace(target)
        except OSError:
            aside.unlink(missing_ok=True)
            raise


def create_folder() -> JobFolder:
    """Make the folder of a new job, with an id that no other job has. Raises StateError if it cannot be made."""
    jobs = prepared_home() / JOBS
    while True:
        folder = JobFolder(jobs / f"j-{time.strftime('%Y%m%d')}-{secrets.token_hex(3)}")
        try:
            folder._prepare()
        except FileExistsError:
            continue
        except OSError as error:
            folder.remove()
            text = explained(
                "job folder",
                needed=f"a writable folder with free space at {jobs}",
                got=f"{error.strerror or error}",
                hint="set STREAMLAB_HOME to another folder",
            )
            raise StateError(text) from error
        except BaseException:
            folder.remove()
            raise
        return folder


def list_folders() -> list[JobFolder]:
    """Return the folders of all jobs, oldest first. Raises StateError for a home that is not to be trusted."""
    jobs = trusted_home() / JOBS
    paths = [path for path in jobs.iterdir() if _is_of_a_job(path)] if jobs.is_dir() else []
    made = [(_made(path), path) for path in paths]
    return [JobFolder(path) for when, path in sorted(made) if when]


def folder_of(job_id: str) -> JobFolder | None:
    """Return the folder of a job; None when there is none, or no job can have that id."""
    path = trusted_home() / JOBS / job_id
    return JobFolder(path) if _is_of_a_job(path) else None


def _is_of_a_job(path: Path) -> bool:
    return _ID.fullmatch(path.name) is not None and is_private_folder(path)


def _layout_name(graph: str) -> str:
    return f"{graph.removesuffix('.pickle')}.layout.json"


def _made(path: Path) -> int:
    try:
        return (path / "meta.json").stat().st_mtime_ns
    except OSError:
        return 0


def checked_name(name: str) -> str:
    """Return the name of a job if it is a good one.

    Raises
    ------
    OptionError
        If it is empty, too long, or has characters that no one could type or that mean something to a shell's paths.
    """
    if not isinstance(name, str) or not _is_good_name(name):
        text = explained(
            "start",
            needed=f"a name of 1 to {_MAX_NAME} printable characters without slashes, not starting with '-'",
            got=repr(name),
        )
        raise OptionError(text)
    return name


def _is_good_name(name: str) -> bool:
    return not (
        not name.strip()
        or name != name.strip()
        or len(name) > _MAX_NAME
        or not name.isprintable()
        or "/" in name
        or "\\" in name
        or name in {".", ".."}
        or name.startswith("-")
        or _ID.fullmatch(name) is not None
    )
