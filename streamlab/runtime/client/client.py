"""A client's side of jobs: start one, find it again, ask things of it."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import socket
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl

from streamlab.core.errors import JobError, OptionError, StateError, explained
from streamlab.core.options import JobOptions
from streamlab.graph.explain import routing
from streamlab.graph.job_graph import JobGraph
from streamlab.observe.status import CheckpointStatus, Failure, JobState, JobStatus
from streamlab.runtime.client.spares import SPARES, Crew, start_crew
from streamlab.runtime.coordinator.job_pace import JobPace
from streamlab.runtime.coordinator.placement import worker_count
from streamlab.runtime.job_folder.checkpoint_leases import HeldCheckpoints
from streamlab.runtime.job_folder.folder import (
    CheckpointPlace,
    ForeignFolder,
    JobFolder,
    JobMeta,
    Replayed,
    checked_name,
    create_folder,
    folder_of,
    list_folders,
)
from streamlab.runtime.job_folder.home import registry_lock
from streamlab.runtime.job_folder.job_processes import JobProcesses, end_processes, works_in
from streamlab.runtime.job_folder.running_jobs import forget_running, note_running, noted_running
from streamlab.runtime.job_folder.socket_folders import (
    create_sockets_folder,
    remove_sockets_folder,
    sockets_folder,
    trusted_sockets,
)
from streamlab.runtime.messages.control import SOCKET_NAME, ask
from streamlab.runtime.messages.protocol import KEY_BYTES, Layout, Request, VertexLayout
from streamlab.runtime.process.pickling import pickled_graph, pickled_query
from streamlab.runtime.process.processes import ProcessId, exit_reason, process_id
from streamlab.runtime.process.surroundings import Surroundings
from streamlab.runtime.supervisor.guardian import FOLLOWED
from streamlab.runtime.supervisor.heir import start_heir
from streamlab.runtime.tables.results import ResultTable
from streamlab.runtime.tables.table_reader import TableReader, write_table_facts

_START_GRACE_US = 30_000_000
_ALONE_GRACE_US = 15_000_000
_MOST_HEIRS = 10
"""As often as a guardian starts a coordinator."""
_OF_CLIENT = -1
"""Whose heir a client's own is, where workers have numbers."""
_SILENT_ELSEWHERE_US = 600_000_000
"""For how long a job of another machine's may be silent before its name is free here."""
_POLL_S = 0.01
_REAP_S = 5.0

_crews: dict[str, Crew] = {}
"""The processes that this one has started, by job id. They live as long as their jobs, not as long as handles: a
coordinator ends its job when the pipe that is held here closes."""
_heirs: dict[str, list[subprocess.Popen[bytes]]] = {}
"""The heirs of these jobs that this process has started."""


class JobHandle:
    """A job as a client sees it, whichever process has started it.

    Parameters
    ----------
    folder
        The job's folder.
    """

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.meta = folder.read_meta()
        self.table = TableReader(folder.results)
        self._is_guarded = self.meta.options.checkpoint_every_ms is not None
        self._final: JobStatus | None = None
        self._silence = (0, time.monotonic(), 0.0)
        """Moment of the latest report, when it was last looked at, and for how long it has been the latest."""

    def status(self) -> JobStatus:
        """Return the latest status; a job whose coordinator is gone or hangs is ended here, as failed.

        Raises
        ------
        JobError
            If the job's folder is no longer there.
        """
        if self._final is not None:
            return self._final
        try:
            status = self.folder.read_status()
        except StateError as error:
            return self._unreadable(str(error))
        if status is not None and status.state.is_final:
            return self._ended(status)
        if not self.folder.path.exists():
            self._reap()
            text = explained(f"job {self.meta.name}", needed=f"its folder {self.folder.path}", got="none any more")
            raise JobError(text)
        elsewhere = self.elsewhere
        reason = "" if elsewhere is not None else self._loss(status)
        if reason and not self._is_left_to_heir():
            strangers = self._clean_up()
            if strangers:
                named = ", ".join(str(process.pid) for process in strangers)
                reason = f"{reason}; its processes.json names process {named}, none of its own, which is left alone"
            self.folder.write_lost(reason)
            status = self.folder.read_status()
            if status is not None:
                return self._ended(status)
        status = status or self._first_status()
        place = "" if elsewhere is None else elsewhere.place
        return msgspec.structs.replace(status, folder_full=self.folder.is_full, elsewhere=place)

    def look_after(self) -> None:
        """See to it that it goes on, or is known to have failed, when its processes are gone; as `status` does."""
        with contextlib.suppress(JobError):
            self.status()

    @property
    def elsewhere(self) -> ProcessId | None:
        """The coordinator, or the client, of a job that was started on another machine or in another container."""
        processes = self.folder.read_processes()
        process = self.meta.client if processes is None else processes.coordinator
        return process if process is not None and process.is_elsewhere else None

    @property
    def is_silent_elsewhere(self) -> bool:
        """Whether it was started elsewhere and has said nothing for so long that it may well have ended."""
        status = self.folder.read_status()
        said_us = self.meta.created_us if status is None else status.reported_us
        return self.elsewhere is not None and abs(time.time_ns() // 1000 - said_us) > _SILENT_ELSEWHERE_US

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Return the status once it is final, or when the time is over."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            status = self.status()
            if status.state.is_final or (deadline is not None and time.monotonic() >= deadline):
                return status
            self._await_news()

    def request(self, request: Request) -> None:
        """Have the coordinator take a request. Raises JobError when the job has ended, refuses or does not answer."""
        status = self.status()
        if status.state.is_final:
            text = explained(f"job {self.meta.name}", needed="to be running for that", got=f"{status.state} job")
            raise JobError(text)
        elsewhere = self.elsewhere
        if elsewhere is not None:
            needed, got = "to be asked where it runs", f"a call from {socket.gethostname()}"
            text = explained(f"job {self.meta.name}", needed=needed, got=got, hint=f"it runs on {elsewhere.place}")
            raise JobError(text)
        path = trusted_sockets(self.meta.sockets, self.meta.id) / SOCKET_NAME
        deadline = time.monotonic() + _START_GRACE_US / 1e6
        while not path.exists() and time.monotonic() < deadline and not self.status().state.is_final:
            time.sleep(_POLL_S)
        while True:
            try:
                refusal = ask(path, self.folder.read_control_key(), request)
            except JobError:
                # It may have ended just now, which is no error of the request's.
                if self.wait(1.0).state.is_final:
                    return
                if not self._is_guarded or time.monotonic() >= deadline:
                    raise
            else:
                break
        if refusal:
            verb = type(request).__name__.removesuffix("Requested").lower()
            text = explained(f"{verb} of job {self.meta.name}", needed="a job that can take it now", got=refusal)
            raise JobError(text)

    def wait_for_checkpoint(self, token: str, timeout_s: float | None = None) -> CheckpointStatus | None:
        """Return what became of the checkpoint that a request asked for; None when it was not begun in time."""

        def found(status: JobStatus) -> CheckpointStatus | None:
            return next((c for c in reversed(status.checkpoints) if c.request == token), None)

        def is_known(status: JobStatus) -> bool:
            checkpoint = found(status)
            return checkpoint is not None and checkpoint.state != "running"

        self.wait_until(is_known, timeout_s)
        return found(self.status())

    def wait_until(self, condition: Callable[[JobStatus], bool], timeout_s: float | None = None) -> bool:
        """Wait until a condition holds, the job has ended, or the time is over; return whether it holds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            status = self.status()
            if condition(status):
                return True
            if status.state.is_final or (deadline is not None and time.monotonic() >= deadline):
                return False
            self._await_news()

    def remove(self) -> None:
        """Delete everything that is stored of an ended job."""
        if self.status().state.is_final:
            self._reap()
            self.folder.remove()

    def _await_news(self) -> None:
        """Wait for a moment, less when its processes say that they have come to an end."""
        crew = _crews.get(self.meta.id)
        if crew is None or not crew.coordinator.listen(_POLL_S):
            time.sleep(_POLL_S)

    def _first_status(self) -> JobStatus:
        return JobStatus(
            id=self.meta.id,
            name=self.meta.name,
            state=JobState.STARTING,
            parallelism=self.meta.options.parallelism,
            submitted_us=self.meta.created_us,
            **JobPace().figures(self.meta.layout),
        )

    def _unreadable(self, reason: str) -> JobStatus:
        """Return what can be said without the status, which is damaged: while the job runs, it is written anew."""
        status = self._first_status()
        processes = self.folder.read_processes()
        if processes is not None and self._can_go_on(processes):
            return status
        failure = Failure(message=reason, kind="StateError")
        return msgspec.structs.replace(status, state=JobState.FAILED, failure=failure, ended_us=self.meta.created_us)

    def _ended(self, status: JobStatus) -> JobStatus:
        self._final = msgspec.structs.replace(status, checkpoints=tuple(map(_settled, status.checkpoints)))
        self._reap()
        return self._final

    def _loss(self, status: JobStatus | None) -> str:
        """Return why the coordinator cannot be expected to go on; empty when it can."""
        crew = _crews.get(self.meta.id)
        if crew is not None and crew.coordinator.has_ended and not self._goes_on_alone():
            code = crew.coordinator.process.returncode
            return self._unless_ended(f"its coordinator process ended: {exit_reason(code)}")
        processes = self.folder.read_processes()
        if processes is not None and not self._can_go_on(processes):
            return self._unless_ended("its coordinator process ended unexpectedly")
        if processes is None and time.time_ns() // 1000 - self.meta.created_us > _START_GRACE_US:
            return self._unless_ended("its coordinator process never started")
        # Workers notice a coordinator that hangs, too, and sooner; this is for when they are gone.
        patience_s = 2 * self.meta.options.heartbeat_timeout_ms / 1000
        if self._is_guarded:
            # Its guardian sees to it, and another coordinator takes a moment to begin.
            patience_s += _START_GRACE_US / 1e6
        if self._silent_s(status) > patience_s:
            return "its coordinator process did not answer"
        return ""

    def _is_left_to_heir(self) -> bool:
        """Start an heir of this process's own job when all of its processes have died; return whether one has begun."""
        processes = self.folder.read_processes()
        had_guardian = processes is not None and processes.guardian is not None
        crew = _crews.get(self.meta.id)
        heirs = _heirs.setdefault(self.meta.id, [])
        if crew is None or not had_guardian or len(heirs) == _MOST_HEIRS:
            return False
        surroundings = crew.surroundings
        try:
            heirs.append(start_heir(self.folder, _OF_CLIENT, surroundings.environment, surroundings.folder or None))
        except OSError:
            return False
        return self.folder.has_heir

    def _goes_on_alone(self) -> bool:
        """Return whether a coordinator runs, or is about to, although the one that was started here has ended."""
        processes = self.folder.read_processes()
        if processes is None:
            return self._is_guarded and time.time_ns() // 1000 - self.meta.created_us < _ALONE_GRACE_US
        return self._is_guarded and self._can_go_on(processes)

    def _can_go_on(self, processes: JobProcesses) -> bool:
        """Return whether the coordinator runs, or another one will: its guardian, or its workers, see to that."""
        if processes.can_go_on:
            return True
        if not self._is_guarded:
            return False
        return any(works_in(worker, self.folder.path) for worker in processes.workers) or self.folder.has_heir

    def _silent_s(self, status: JobStatus | None) -> float:
        """Return for how long no new report was seen, not counting time in which nobody looked.

        The wall clock in the report cannot tell: when this machine was frozen, the coordinator was, too.
        """
        reported_us, looked, silent_s = self._silence
        now = time.monotonic()
        latest_us = status.reported_us if status is not None else 0
        silent_s = silent_s + min(now - looked, 1.0) if latest_us == reported_us else 0.0
        self._silence = latest_us, now, silent_s
        return silent_s

    def _unless_ended(self, reason: str) -> str:
        """Return the reason, unless the coordinator wrote a final status right before it went."""
        status = self.folder.read_status()
        return "" if status is not None and status.state.is_final else reason

    def _clean_up(self) -> list[ProcessId]:
        """End what is left of a job that is lost; return processes that its folder names, but that are none of it."""
        processes = self.folder.read_processes()
        strangers = end_processes(processes.all if processes is not None else (), self.folder.path)
        self._reap()
        remove_sockets_folder(self.meta.sockets, self.meta.id)
        return strangers

    def _reap(self) -> None:
        crew = _crews.pop(self.meta.id, None)
        if crew is None or SPARES.take_back(crew):
            return
        crew.coordinator.close()
        for process in (crew.coordinator.process, *_heirs.pop(self.meta.id, ())):
            try:
                process.wait(_REAP_S)
            except subprocess.TimeoutExpired:
                # It hangs, and there is nothing left for it to do.
                process.kill()
                process.wait()
        SPARES.job_ended()


def _settled(checkpoint: CheckpointStatus) -> CheckpointStatus:
    """Return what is known of a checkpoint of a job that has ended: one that was being taken never comes to be."""
    if checkpoint.state != "running":
        return checkpoint
    reason = "the job ended before it was complete"
    return msgspec.structs.replace(checkpoint, state="abandoned", reason=reason)


def layout_of(graph: JobGraph, parallelism: int, file: str = "graph.pickle") -> Layout:
    """Return what the coordinator must know of a graph."""
    vertices = (
        VertexLayout(
            v.id,
            v.steps,
            v.parallelism,
            v.source is not None,
            v.sink is not None,
            tuple((edge.target, routing(edge)) for edge in graph.outputs(v.id)),
            "" if v.source is None else v.source.pace_name,
        )
        for v in graph.vertices
    )
    return Layout(parallelism, tuple(vertices), file, graph.steps)


def launch(
    graph: JobGraph,
    options: JobOptions,
    *,
    plan: str = "",
    query: object = None,
    origin: CheckpointPlace | None = None,
    until: CheckpointPlace | None = None,
    until_us: int | None = None,
    replayed: Replayed | None = None,
    prepare: Callable[[JobFolder], None] | None = None,
) -> JobHandle:
    """Start a job in processes of its own and return at once.

    Parameters
    ----------
    graph
        What runs.
    options
        How.
    plan
        The text of ``explain()``, kept for :meth:`streamlab.job.job.Job.explain`.
    query
        What the graph was made of, kept so that graphs of another parallelism can be made.
    origin
        The checkpoint that the job starts from.
    until
        The checkpoint at whose positions it ends.
    until_us
        The event time, in µs since 1970, at which it ends.
    replayed
        The job that it replays: it cuts its rows into the same batches, and takes them in the same order.
    prepare
        Called with the job's folder before any of its processes starts.

    Raises
    ------
    OptionError
        If the name is no good, or a running job has it.
    PlanError
        If the graph holds something that cannot be sent to another process.
    StateError
        If the job's folder cannot be made, or a checkpoint that it needs is not there.
    """
    name = checked_name(options.name)
    pickled = pickled_graph(graph)
    with registry_lock():
        check_is_free(name)
        folder = create_folder()
        held = HeldCheckpoints(folder, origin, until)
        sockets: Path | None = None
        # From here on, whatever happens (Ctrl-C, too) leaves a job that runs, or nothing.
        try:
            sockets = create_sockets_folder(folder.id)
            meta = JobMeta(
                id=folder.id,
                name=name,
                options=options,
                created_us=time.time_ns() // 1000,
                client=process_id(),
                sockets=str(sockets),
                layout=layout_of(graph, options.parallelism),
                origin=origin,
                until=until,
                until_us=until_us,
                replayed=replayed,
                plan=plan,
                fingerprint=hashlib.sha256(plan.encode()).hexdigest(),
                engine=pl.__version__,
            )
            note_running(folder.id)
            held.hold(meta.client)
            folder.write_graph(pickled)
            if query is not None:
                folder.write_query(pickled_query(query))
            for vertex in graph.vertices:
                if isinstance(vertex.sink, ResultTable):
                    write_table_facts(folder.results, vertex.sink.schema, vertex.sink.keys)
            if prepare is not None:
                prepare(folder)
            folder.write_meta(meta)
            workers = worker_count(vertex.parallelism for vertex in graph.vertices)
            _start_coordinator(folder, workers)
            _hand_over(folder, options, workers)
        except BaseException:
            _abandon(folder, sockets)
            forget_running(folder.id)
            held.release()
            folder.remove()
            raise
    return JobHandle(folder)


def _start_coordinator(folder: JobFolder, workers: int, *, fresh: bool = False) -> None:
    """Start the processes of a job, or take those that wait for one; they are told of it by `_hand_over`."""
    surroundings = Surroundings.now()
    crew = None if fresh else SPARES.take(workers, surroundings)
    if crew is None:
        with folder.coordinator_log.open("ab") as log:
            crew = start_crew(workers, surroundings, log)
    _crews[folder.id] = crew


def _hand_over(folder: JobFolder, options: JobOptions, workers: int) -> None:
    """Tell the coordinator of the job; it starts a guardian for itself if the job can be recovered."""
    arguments = [str(folder.path), *([FOLLOWED] if options.checkpoint_every_ms is not None else [])]
    key = secrets.token_bytes(KEY_BYTES)
    if not _crews[folder.id].coordinator.hand_over(arguments, key):
        _crews.pop(folder.id).coordinator.end()
        _start_coordinator(folder, workers, fresh=True)
        # One that dies right away is found out by whoever asks for the status.
        _crews[folder.id].coordinator.hand_over(arguments, key)
    if options.detach:
        _crews[folder.id].coordinator.close()


def _abandon(folder: JobFolder, sockets: Path | None) -> None:
    """End what was started of a job that did not come to be."""
    crew = _crews.pop(folder.id, None)
    if crew is not None:
        crew.coordinator.end()
    processes = folder.read_processes()
    end_processes(processes.all if processes is not None else (), folder.path)
    remove_sockets_folder(sockets or sockets_folder(folder.id), folder.id)


def find(name_or_id: str) -> JobHandle:
    """Return a job by its id, or the newest by its name, running ones first. Raises JobError when there is none."""
    folder = folder_of(name_or_id)
    handle = None if folder is None else _found(folder)
    if handle is not None:
        return handle
    handles = list_jobs()
    matching = [h for h in handles if name_or_id in {h.meta.id, h.meta.name}]
    running = [h for h in matching if is_running(h)]
    if matching:
        return (running or matching)[-1]
    known = ", ".join(sorted({h.meta.name for h in handles})) or "none"
    raise JobError(explained("attach", needed="the name or id of a job", got=repr(name_or_id), hint=f"jobs: {known}"))


def list_jobs() -> list[JobHandle]:
    """Return all jobs whose folders there are, oldest first."""
    return [handle for handle in map(_found, list_folders()) if handle is not None]


def is_running(handle: JobHandle) -> bool | None:
    """Return whether a job runs; None when its folder is damaged or has just been removed, which harms no other job."""
    try:
        handle.folder.read_status()
        return not handle.status().state.is_final
    except (JobError, StateError):
        return None


def check_is_free(name: str) -> None:
    """Look through the jobs that run. Raises OptionError if one of them has a name.

    To be called while nobody else starts a job: see `registry_lock`.
    """
    for folder in noted_running():
        handle = _found(folder)
        if handle is None or is_running(handle) is False:
            forget_running(folder.id)
        elif handle.meta.name == name and is_running(handle) and not handle.is_silent_elsewhere:
            text = explained(
                "start",
                needed="a name that no running job has",
                got=f"{name!r}, the name of job {handle.meta.id}",
                hint=f"stop that one first: sl.attach({name!r}).stop()",
            )
            raise OptionError(text)


def _found(folder: JobFolder) -> JobHandle | None:
    """Return the job of a folder; None if another version wrote it, or it is being removed right now."""
    try:
        return JobHandle(folder)
    except ForeignFolder as forged:
        warnings.warn(str(forged), stacklevel=2)
        return None
    except (StateError, FileNotFoundError):
        return None
