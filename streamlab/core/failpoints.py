"""Named places at which a test can have this process fail: raise, die or hang, right there.

Code calls :func:`reach` where a failure would matter most. While nothing is armed, and that is always so outside of
tests of recovery, a call looks at one list that is empty. Only :func:`arm` changes that, and only the shell of a
process calls it, when it was told to by whoever started it (``runtime.fault_injection``): nothing that is read from a
stream, a plan, a job's folder or a checkpoint can. Pure packages may reach points: what happens there is the shell's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

Handler = Callable[[str], None]
"""Called with the name of each point that is reached; it raises, ends the process, never returns, or does nothing."""

POINTS: Mapping[str, str] = MappingProxyType(
    {
        "attempts.write": "an attempt is about to be put on record; none of its processes runs",
        "attempts.written": "the attempt is on record, none of its processes runs",
        "barrier.align": "a task has the barrier on all of its inputs and has not snapshotted yet",
        "barrier.forward": "a task has snapshotted and not sent the barrier on",
        "barrier.inject": "a source is about to begin a checkpoint",
        "checkpoint.report": "a task's part of a checkpoint is durable, the coordinator does not know yet",
        "coordinator.collect": "the coordinator takes in a task's part of a checkpoint",
        "coordinator.commit": "the manifest is durable, no sink has been told to commit",
        "coordinator.finish": "the job has ended, its last status is not written",
        "coordinator.publish": "a status is about to be written",
        "coordinator.takeover": "a new coordinator has ended the processes of the one before",
        "gc.delete": "a file that is no longer needed is about to be deleted",
        "guardian.watch": "the guardian waits for the coordinator's end",
        "manifest.fsync": "the manifest is written aside and not synced",
        "manifest.rename": "the manifest is synced and does not have its name yet",
        "manifest.write": "all parts are durable, the manifest is about to be written",
        "op.process": "an operator is about to be given rows",
        "op.snapshot": "operators are about to be snapshotted",
        "recording.append": "before each part of a record of a live source: then it is torn",
        "recording.fsync": "what was recorded is about to be synced",
        "rescale.stop": "the workers are about to be ended, to go on with another parallelism",
        "restore.read": "a file of state is about to be read",
        "results.append": "rows are about to be appended to the result table's log",
        "results.fsync": "that log is about to be synced",
        "route.receive": "a message from another worker is about to be taken in",
        "route.send": "a message to another worker is about to be sent",
        "sink.commit": "a sink is about to commit",
        "sink.commit_ack": "a sink has committed, the coordinator does not know yet",
        "sink.prepare": "a sink is about to prepare",
        "sink.publish": "between two files of a commit, or between its rows and its clearing up",
        "sink.stage": "rows of a transaction are written and not synced",
        "sink.write": "a sink is about to be given rows",
        "source.position": "a source's positions are about to be taken",
        "source.read": "a source is about to be read",
        "state.fsync": "a file of state is written aside and not synced",
        "state.rename": "a file of state is synced and does not have its name yet",
        "state.write": "a frame of state is about to be stored",
        "task.finish": "a task has come to its end and has not said so",
        "worker.deploy": "a worker is about to build its tasks",
        "worker.start": "a worker has its orders and has loaded nothing",
    }
)
"""All points, with what stands when one is reached."""

_armed: list[Handler] = []


def reach(point: str) -> None:
    """Say that this place has been reached; returns at once unless a handler is armed."""
    if _armed:
        _armed[0](point)


def arm(handler: Handler | None) -> None:
    """Have a handler called at every point from now on; None disarms.

    Examples
    --------
    >>> reached = []
    >>> arm(reached.append)
    >>> reach("sink.commit")
    >>> arm(None)
    >>> reach("sink.commit")
    >>> reached
    ['sink.commit']
    """
    _armed[:] = [] if handler is None else [handler]
