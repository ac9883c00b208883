"""The thread of a worker that makes parts of checkpoints durable while the tasks go on.

It works off one queue, so what a task reports arrives in the order in which it happened, its end after its snapshots.
Frames in a snapshot are immutable: nothing is copied, and nothing is waited for but the next checkpoint's turn.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import traceback
from collections.abc import Callable

import msgspec

from streamlab.core.errors import StateError
from streamlab.core.failpoints import reach
from streamlab.core.redaction import without_credentials
from streamlab.observe.status import TaskStatus
from streamlab.runtime.messages.protocol import (
    Hello,
    SnapshotFailed,
    TaskFailed,
    TaskFinished,
    TaskSnapshotted,
    WorkerEvent,
)
from streamlab.runtime.process.job_log import say
from streamlab.runtime.task.task_states import stored_part
from streamlab.runtime.task.task_values import Snapshotted
from streamlab.runtime.worker.call_deadlines import StepClock
from streamlab.runtime.worker.task_runner import failure_of
from streamlab.state.checkpoints.manifest import StoredFrame
from streamlab.state.checkpoints.snapshots import SnapshotWriter

_Job = Callable[[], None]


class CheckpointThread:
    """See the module.

    Parameters
    ----------
    hello
        Which worker of which attempt this is.
    report
        Takes events for the coordinator; called from the thread.
    writer
        Stores snapshots; None in a job without checkpoints, where everything happens at once and no thread is needed.
    clock
        Told while something is being stored.
    """

    def __init__(
        self,
        hello: Hello,
        report: Callable[[WorkerEvent], None],
        writer: SnapshotWriter | None,
        clock: StepClock | None = None,
    ) -> None:
        self._hello = hello
        self._clock = clock
        self._report = report
        self._writer = writer
        self._files: dict[int, set[StoredFrame]] = {}
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        if writer is not None:
            self._thread.start()

    def store(self, vertex: str, subtask: int, taken: Snapshotted, alignment_us: int) -> None:
        """Store a task's snapshot and report its part of the checkpoint."""
        self._do(lambda: self._store(vertex, subtask, taken, alignment_us))

    def finish(self, taken: Snapshotted, status: TaskStatus, first_row_us: int | None) -> None:
        """Report the end of a task, with what its sink still has to commit."""
        part = stored_part(status.vertex, status.subtask, taken, None)
        hello = self._hello
        event = TaskFinished(hello.worker, hello.attempt, status, part, first_row_us)
        self._do(lambda: self._report(event))

    def complete(self, checkpoint_id: int) -> None:
        """Only files of this checkpoint are sure to stay from now on."""
        self._do(lambda: self._forget(checkpoint_id))

    def stop(self) -> None:
        """End the thread, once it has done what there is to do."""
        if self._writer is not None:
            self._queue.put(None)
            self._thread.join()

    def _do(self, job: _Job) -> None:
        if self._writer is None:
            job()
        else:
            self._queue.put(job)

    def _run(self) -> None:
        while True:
            job = self._queue.get()
            if job is None:
                return
            try:
                with contextlib.nullcontext() if self._clock is None else self._clock.storing(threading.get_ident()):
                    job()
            except BaseException as error:
                # Without this thread no checkpoint would ever be whole again.
                hello = self._hello
                self._report(TaskFailed(hello.worker, hello.attempt, failure_of(error, "checkpoint")))

    def _store(self, vertex: str, subtask: int, taken: Snapshotted, alignment_us: int) -> None:
        hello = self._hello
        began_ns = time.perf_counter_ns()
        try:
            part = stored_part(vertex, subtask, taken, self._writer, alignment_us=alignment_us)
        except StateError as error:
            self._report(SnapshotFailed(hello.worker, hello.attempt, taken.checkpoint_id, str(error)))
            return
        except Exception as error:
            say(traceback.format_exc())
            reason = without_credentials(f"{vertex}: {type(error).__name__}: {error}")
            self._report(SnapshotFailed(hello.worker, hello.attempt, taken.checkpoint_id, reason))
            return
        reach("checkpoint.report")
        self._files.setdefault(taken.checkpoint_id, set()).update(part.files)
        part = msgspec.structs.replace(part, duration_us=(time.perf_counter_ns() - began_ns) // 1000)
        self._report(TaskSnapshotted(hello.worker, hello.attempt, taken.checkpoint_id, part))

    def _forget(self, checkpoint_id: int) -> None:
        files = frozenset(self._files.get(checkpoint_id, ()))
        self._files = {key: value for key, value in self._files.items() if key > checkpoint_id}
        if self._writer is not None:
            self._writer.forget_except(files)
