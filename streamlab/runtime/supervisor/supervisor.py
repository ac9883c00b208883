"""The coordinator process of a job: ``python -m`` this module ``<job folder>``, started by a client.

It is the shell around the pure :class:`.Coordinator`: it starts workers, carries events in and commands out, serves
clients on a socket, writes the status, and cleans up. It reads neither the job graph nor any rows, so user code cannot
hurt it, and it imports no Polars, so it is there at once.

Standard input comes from the client: first the key that authenticates what workers send each other, then nothing. When
it ends, the client has ended, and so does the job, unless it is detached: it takes a last checkpoint if that is quick.
(Signals would not do: on a restart the notebook's kernel ends its own process group only, and on SIGKILL it ends
nothing.) A coordinator that was started by the job's guardian sees for itself whether the client lives.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from streamlab.core.errors import CheckpointError, StateError, explained
from streamlab.core.failpoints import reach
from streamlab.observe.status import Failure, JobState, JobStatus
from streamlab.runtime.coordinator.attempt_state import Takeover
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.job_folder.attempts import Attempt, read_attempts, record_attempt
from streamlab.runtime.job_folder.checkpoint_leases import HeldCheckpoints
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.job_folder.folder_lock import claim
from streamlab.runtime.job_folder.history_file import HistoryWriter
from streamlab.runtime.job_folder.job_processes import JobProcesses, end_processes
from streamlab.runtime.job_folder.socket_folders import remove_sockets_folder, trusted_sockets
from streamlab.runtime.messages import protocol
from streamlab.runtime.messages.control import SOCKET_NAME, ControlServer
from streamlab.runtime.messages.pipes import read_available
from streamlab.runtime.messages.protocol import Command, Event
from streamlab.runtime.process.fault_injection import arm_from_environment
from streamlab.runtime.process.job_log import limit_log, say
from streamlab.runtime.process.processes import has_ended, process_id
from streamlab.runtime.process.worker_start import StartedWorker
from streamlab.runtime.supervisor.guardian import DEFECT, FOLLOWED, GUARDIAN
from streamlab.runtime.supervisor.guardian_watch import Guarding
from streamlab.runtime.supervisor.worker_process import WorkerProcess
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore

_TICK_S = 0.1
_LOOK_AT_LOGS_S = 0.5
_DISMISSAL_S = {JobState.FINISHED: 5.0, JobState.STOPPED: 5.0}
_CLOSING_S = 0.002
_SHORT_DISMISSAL_S = 0.3
"""How long workers may take to close: long after success, short when one of them may hang."""
_DISK_PATIENCE_S = 30.0


class Supervisor:
    """See the module.

    Parameters
    ----------
    folder
        The job's folder.
    client_fd
        The pipe from the client.
    guardian
        Number of the guardian that has started this process; 0: the client has.
    guarded
        Whether there is to be a guardian.
    key
        What authenticates messages of this job; without it, it is read from that pipe.
    standing_by
        Workers that wait to be told who they are.

    Raises
    ------
    StateError
        If another coordinator works in the folder, or its files cannot be read.
    """

    def __init__(
        self,
        folder: JobFolder,
        client_fd: int,
        guardian: int = 0,
        *,
        guarded: bool = False,
        key: bytes = b"",
        standing_by: Sequence[StartedWorker] = (),
    ) -> None:
        # Before anything else: what an earlier coordinator has left is ended here, and that one must be dead.
        self._lock = claim(folder.path)
        self._folder = folder
        self._meta = folder.read_meta()
        self._sockets = trusted_sockets(self._meta.sockets, self._meta.id)
        self._manifests = ManifestStore(folder.checkpoint_blobs())
        self._history = HistoryWriter(folder.path)
        self._held = HeldCheckpoints(folder, self._meta.origin, self._meta.until)
        origin = self._held.hold(process_id(), process_id(guardian) if guardian else None)
        self._held.keep_copy(origin)
        self._coordinator = Coordinator(
            self._meta.id,
            self._meta.options,
            self._meta.layout,
            submitted_us=self._meta.created_us,
            fingerprint=self._meta.fingerprint,
            engine=self._meta.engine,
            origin=origin,
            takeover=self._takeover(),
            in_order=self._meta.replayed is not None and self._meta.replayed.in_order,
        )
        self._client_fd = client_fd
        self._guarding = Guarding(folder.path, self._meta.options, guardian, wanted=guarded)
        self._key = key
        self._standing_by = deque(standing_by)
        self.ready_again: list[StartedWorker] = []
        """Workers that can have another job, now that this one has ended."""
        self._is_guarded = self._meta.options.checkpoint_every_ms is not None
        self._hears_client = not guardian and not self._meta.options.detach
        self._watches_client = bool(guardian) and not self._meta.options.detach
        self._workers: dict[int, WorkerProcess] = {}
        self._selector = selectors.DefaultSelector()
        self._final: JobStatus | None = None
        self._signalled = False
        self._refusal = ""
        self._ticked = self._logs_looked_at = time.monotonic()
        self._full_since: float | None = None
        """Since when the status cannot be written for want of space."""
        self._started: protocol.StartWorkers | None = None
        """What the workers of the present attempt were started by."""
        self._failed_start: protocol.WorkerLost | None = None

    def run(self) -> None:
        """Run the job to its end."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._read_key()
        self._see_to_guardian()
        self._write_processes()
        self._carry_out(self._coordinator.start(_now_us()))
        # The coordinator before may have been killed after it had cleaned up.
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        server = ControlServer(
            self._sockets / SOCKET_NAME, self._folder.read_control_key(), self._selector, self._answer
        )
        if self._hears_client:
            self._selector.register(self._client_fd, selectors.EVENT_READ, self._read_client)
        while self._final is None:
            self._round()
        server.close()
        self._end_workers()
        self._held.release()
        remove_sockets_folder(self._sockets, self._meta.id)
        self._history.note(self._final)
        reach("coordinator.finish")
        self._folder.write_status(self._final)
        self._guarding.dismiss()
        self._selector.close()
        os.close(self._lock)

    def end_after_defect(self, report: str) -> None:
        """End everything when this process itself has failed."""
        self._end_workers()
        remove_sockets_folder(self._sockets, self._meta.id)
        status = self._coordinator.status()
        text = explained("coordinator", needed="to run", got=report.strip().splitlines()[-1], hint="see job.log()")
        failure = Failure(message=text, traceback=report, kind="InternalError")
        now_us = _now_us()
        # When it was the folder that failed, there is no place left to say so; clients find the process gone.
        with contextlib.suppress(OSError):
            self._folder.write_status(
                msgspec.structs.replace(
                    status, state=JobState.FAILED, failure=failure, ended_us=now_us, reported_us=now_us
                )
            )

    def _takeover(self) -> Takeover | None:
        """Return what an earlier coordinator of this job has left, after ending its workers."""
        attempts = read_attempts(self._folder.results)
        if not attempts:
            return None
        processes = self._folder.read_processes()
        if processes is not None:
            end_processes((processes.coordinator, *processes.workers), self._folder.path)
        reach("coordinator.takeover")
        manifests = [found for _, found in self._manifests.newest_first() if isinstance(found, Manifest)]
        if manifests:
            # Sinks commit what it holds as soon as an attempt starts from it: no power failure may take it back then.
            self._manifests.make_durable(manifests[0])
        last, status = attempts[-1], _last_status(self._folder)
        ran = {attempt.layout.graph for attempt in attempts}
        wished = status.rescale if status is not None and status.rescale not in ran else ""
        rescale = self._folder.read_layout(wished) if wished else None
        return Takeover(last.number, last.layout, tuple(reversed(manifests)), status, rescale)

    # -- what comes in -------------------------------------------------------------------------------------------

    def _round(self) -> None:
        for key, _ in self._selector.select(_TICK_S):
            key.data()
        for worker in list(self._workers.values()):
            self._watch(worker)
        now = time.monotonic()
        elapsed, self._ticked = now - self._ticked, now
        if now - self._logs_looked_at >= _LOOK_AT_LOGS_S:
            self._logs_looked_at = now
            for path in (self._folder.coordinator_log, *map(self._folder.worker_log, self._workers)):
                limit_log(path)
        self._take(protocol.Tick(int(elapsed * 1e6)))
        self._look_for_client()
        if self._see_to_guardian():
            self._write_processes()
        if self._failed_start is not None:
            failed, self._failed_start = self._failed_start, None
            self._take(failed)
        if self._signalled:
            self._signalled = False
            self._take(protocol.EndRequested("the coordinator was told to end"))

    def _answer(self, request: protocol.Request) -> str:
        """Take a request of a client's, and return why it is refused; empty when it is not."""
        self._refusal = ""
        self._take(request)
        return self._refusal

    def _take(self, event: Event) -> None:
        if isinstance(event, protocol.TaskFailed | protocol.WorkerLost):
            # Whether the job is tried again or not: job.log() has the whole of it.
            say(f"{event.failure.message}\n{event.failure.traceback}".rstrip())
        self._carry_out(self._coordinator.handle(event, _now_us()))

    def _on_signal(self, number: int, frame: object) -> None:
        self._signalled = True

    def _read_key(self) -> None:
        while len(self._key) < protocol.KEY_BYTES:
            piece = os.read(self._client_fd, protocol.KEY_BYTES - len(self._key))
            if not piece:
                text = "the client ended before it had handed over the job"
                raise EOFError(text)
            self._key += piece

    def _see_to_guardian(self) -> bool:
        """Start a guardian if there is to be one and there is none; return whether there is a new one."""
        is_new = self._guarding.renew(self._key)
        if is_new:
            self._held.hold(process_id(), self._guarding.process)
        return is_new

    def _read_client(self) -> None:
        if read_available(self._client_fd) is None:
            return
        self._selector.unregister(self._client_fd)
        self._take(protocol.EndRequested("the process that started it has ended"))

    def _look_for_client(self) -> None:
        client = self._meta.client
        if self._watches_client and client is not None and not client.is_alive:
            self._watches_client = False
            self._take(protocol.EndRequested("the process that started it has ended"))

    def _watch(self, worker: WorkerProcess) -> None:
        """See whether a worker still runs, and report its loss once everything that it said has been read."""
        if worker.lost:
            return
        if time.monotonic() > worker.answers_by_s and read_is_empty(worker.events_fd):
            self._replace(worker)
            return
        if not worker.has_ended:
            worker.send()
            return
        while worker.events_fd >= 0 and self._final is None:
            before = worker.events_fd
            if read_is_empty(before):
                break
            worker.read(self._selector, self._take)
        if worker.has_been_silent:
            # It died before it could do anything, as spares may at any moment.
            self._replace(worker)
            return
        code = worker.kill()
        self._take(worker.loss(self._folder, code, self._meta.options.heartbeat_timeout_ms))

    # -- what goes out -------------------------------------------------------------------------------------------

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case protocol.StartWorkers():
                    self._start_workers(command)
                case protocol.EndWorkers():
                    self._kill_workers()
                case protocol.StoreCheckpoint(manifest):
                    self._store(manifest)
                case protocol.RetainCheckpoints(keep):
                    self._retain(keep)
                case protocol.InspectWorker(index):
                    self._workers[index].inspect()
                case protocol.Refuse(reason):
                    self._refusal = reason
                case protocol.Publish(status):
                    self._publish(status)
                case protocol.Finish(status):
                    self._final = status
                case _:
                    for worker in self._workers.values():
                        worker.send(command)

    def _start_workers(self, command: protocol.StartWorkers) -> None:
        self._started = command
        with self._failing_start(command):
            record_attempt(self._folder.results, Attempt(command.attempt, command.restored, command.layout))
            for index in range(command.count):
                self._start_worker(index, command)
            self._let_go()
            self._write_processes()

    @contextlib.contextmanager
    def _failing_start(self, command: protocol.StartWorkers) -> Iterator[None]:
        """Note what keeps workers from being started: above all a full disk, which may be emptier the next time."""
        try:
            yield
        except OSError as error:
            text = explained("start", needed="to start its workers", got=error.strerror or str(error))
            failure = Failure(message=text, kind="WorkerLost")
            self._failed_start = protocol.WorkerLost(0, command.attempt, failure, from_outside=True)

    def _write_processes(self) -> None:
        own = process_id()
        workers = (process_id(worker.process.pid) for worker in self._workers.values())
        if own is not None:
            running = tuple(process for process in workers if process is not None)
            self._folder.write_processes(JobProcesses(own, self._guarding.process, running))

    def _kill_workers(self) -> None:
        """End all workers now, whatever state they are in, and wait until they are gone."""
        for worker in self._workers.values():
            if not worker.lost:
                worker.kill()
            # There may be no worker of that number any more that would have its log limited.
            limit_log(self._folder.worker_log(worker.index))
            worker.close(self._selector)
        self._workers.clear()

    def _store(self, manifest: Manifest) -> None:
        try:
            self._manifests.put(manifest)
        except StateError as error:
            self._take(protocol.CheckpointNotStored(manifest.id, str(error)))
        else:
            self._take(protocol.CheckpointStored(manifest.id))

    def _retain(self, keep: int) -> None:
        """Delete what is no longer needed; what cannot be deleted now is deleted next time."""
        try:
            if self._manifests.retain(keep):
                self._manifests.collect_garbage()
        except StateError as error:
            say(str(error))

    def _start_worker(self, index: int, command: protocol.StartWorkers) -> None:
        worker = self._standby(index, command.attempt)
        if worker is None:
            worker = WorkerProcess.start(self._folder, self._meta.id, index, command.attempt)
        self._workers[index] = worker
        self._selector.register(worker.events_fd, selectors.EVENT_READ, lambda: worker.read(self._selector, self._take))
        hello = protocol.Hello(
            str(self._folder.path),
            index,
            command.attempt,
            self._key,
            command.layout.graph,
            command.lists_splits,
            command.known_sources,
        )
        worker.send(hello)

    def _standby(self, index: int, attempt: int) -> WorkerProcess | None:
        """Return a worker that stands by; None when there is none that lives."""
        while self._standing_by:
            started = self._standing_by.popleft()
            if not has_ended(started.process.pid):
                return WorkerProcess.standing_by(started, index, attempt)
            started.end()
        return None

    def _let_go(self) -> None:
        """End workers that stand by and are not needed."""
        while self._standing_by:
            self._standing_by.popleft().end()

    def _replace(self, worker: WorkerProcess) -> None:
        """Have a fresh worker do what one that stood by and says nothing was to do; that one has done nothing."""
        say(f"worker {worker.index} stood by, but has died or does not answer: another one starts")
        worker.kill()
        worker.close(self._selector)
        if self._started is not None:
            with self._failing_start(self._started):
                self._start_worker(worker.index, self._started)
                self._write_processes()

    def _publish(self, status: JobStatus) -> None:
        self._history.note(status)
        reach("coordinator.publish")
        try:
            self._folder.write_status(status)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            self._wait_for_room(error)
        else:
            self._full_since = None

    def _wait_for_room(self, error: OSError) -> None:
        """Bear with a full disk for a while, if what is lost on it can be restored."""
        self._full_since = self._full_since or time.monotonic()
        if not self._is_guarded or time.monotonic() - self._full_since >= _DISK_PATIENCE_S:
            self._take(protocol.JobFolderFailed(error.strerror or str(error)))
            return
        # So the guardian sees that this process lives.
        with contextlib.suppress(OSError):
            os.utime(self._folder.path / "status.json")

    def _end_workers(self) -> None:
        """Let workers that were dismissed end by themselves, then end them and all that they have started."""
        alive = [worker for worker in self._workers.values() if not worker.lost]
        state = self._final.state if self._final else JobState.FAILED
        deadline = time.monotonic() + _DISMISSAL_S.get(state, _SHORT_DISMISSAL_S)
        while time.monotonic() < deadline and not all(worker.is_ready_again or worker.has_ended for worker in alive):
            for worker in alive:
                worker.send()
                worker.read(self._selector, lambda _: None)
            # It speaks, or the end of its pipe is there, when it has come to its end.
            self._selector.select(_CLOSING_S)
        for worker in alive:
            if worker.is_ready_again and not worker.has_ended and state is JobState.FINISHED:
                self.ready_again.append(worker.stand_by(self._selector))
            else:
                worker.kill()


def read_is_empty(fd: int) -> bool:
    """Return whether nothing waits to be read and the end has not been reached."""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        return not selector.select(0)


def _last_status(folder: JobFolder) -> JobStatus | None:
    try:
        return folder.read_status()
    except StateError as error:
        # The checkpoints and the attempts on record are what a job goes on from.
        say(str(error))
        return None


def _now_us() -> int:
    return time.time_ns() // 1000


def main(path: str, *flags: str, key: bytes = b"", standing_by: Sequence[StartedWorker] = ()) -> list[StartedWorker]:
    """Run this process as the coordinator of the job in a folder; for the last two see :class:`Supervisor`.

    Returns
    -------
    list[StartedWorker]
        Workers that can have another job.
    """
    arm_from_environment("coordinator")
    supervisor = None
    try:
        guardian = next((int(flag.removeprefix(GUARDIAN)) for flag in flags if flag.startswith(GUARDIAN)), 0)
        folder = JobFolder(Path(path))
        status = _last_status(folder)
        if status is not None and status.state.is_final:
            # The coordinator before was killed after its last word.
            return []
        supervisor = Supervisor(
            folder,
            client_fd=0,
            guardian=guardian,
            guarded=guardian != 0 or FOLLOWED in flags,
            key=key,
            standing_by=standing_by,
        )
        supervisor.run()
    except Exception as error:
        if supervisor is None and isinstance(error, StateError) and not isinstance(error, CheckpointError):
            # Another coordinator works here, or there is no job: nothing that a next one could mend.
            sys.exit(str(error))
        report = traceback.format_exc()
        say(report)
        if FOLLOWED in flags:
            # As if it had been killed: the next one ends the workers and takes the job over.
            os._exit(DEFECT)
        if supervisor is not None:
            supervisor.end_after_defect(report)
        sys.exit(1)
    return supervisor.ready_again


if __name__ == "__main__":
    main(*sys.argv[1:])
