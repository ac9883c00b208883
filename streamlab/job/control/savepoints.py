"""Checkpoints that a user asks for, savepoints, and the ways in which a job is ended."""

from __future__ import annotations

import os
import secrets

from streamlab.core.errors import CheckpointError, JobError, explained
from streamlab.job.control.saving import save
from streamlab.job.history.checkpoints import Checkpoint
from streamlab.observe.status import JobState, JobStatus
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.messages.protocol import CheckpointRequested, Request, StopRequested
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.savepoints import check_is_free

_COPY_ATTEMPTS = 5


def takes_checkpoints(handle: JobHandle) -> bool:
    """Return whether a job was started so that it takes checkpoints."""
    return handle.meta.options.checkpoint_every_ms is not None


def take_checkpoint(handle: JobHandle, timeout_s: float | None) -> int:
    """Let a job take a checkpoint now, and return its id when it is complete.

    Raises
    ------
    JobError
        If the job has ended, takes no checkpoints, or the checkpoint failed or did not come in time.
    """
    step = f"checkpoint of job {handle.meta.name}"
    check_checkpointing(handle, step)
    token = secrets.token_hex(8)
    handle.request(CheckpointRequested(token))
    taken = handle.wait_for_checkpoint(token, timeout_s)
    if taken is None or taken.state in {"running", "failed", "abandoned"}:
        got = "none in time" if taken is None or taken.state == "running" else f"a failure: {taken.reason}"
        raise JobError(explained(step, needed="a complete checkpoint", got=got))
    return taken.id


def take_savepoint(handle: JobHandle, path: str | os.PathLike[str], timeout_s: float | None) -> Checkpoint:
    """Let a job take a checkpoint now, and copy it to where no job deletes it.

    Raises
    ------
    OptionError
        If there is a savepoint at that place already.
    JobError, CheckpointError
        If the checkpoint fails or cannot be copied.
    """
    target = check_is_free(path)
    for attempt in range(_COPY_ATTEMPTS):
        checkpoint_id = take_checkpoint(handle, timeout_s)
        try:
            saved = save(handle, checkpoint_id, target)
            break
        except CheckpointError as error:
            # A job that takes them quickly and keeps few may have deleted it before it could be held on to.
            if error.matter != "missing" or attempt == _COPY_ATTEMPTS - 1:
                raise
    return Checkpoint(target, saved)


def end(handle: JobHandle, request: Request, timeout_s: float | None) -> JobState:
    """Send a job that has not ended the request to do so, wait for its end, and return the state."""
    status = handle.status()
    if not status.state.is_final:
        handle.request(request)
        status = handle.wait(timeout_s)
    return status.state


def stop_in_place(handle: JobHandle, timeout_s: float | None, *, drain: bool) -> JobState:
    """Let a job end where it stands, with a last checkpoint; with `drain`, or without checkpoints, what is open fires.

    Raises
    ------
    JobError
        If the checkpoint cannot be taken.
    """
    if drain or handle.status().state.is_final or not takes_checkpoints(handle):
        return end(handle, StopRequested(), timeout_s)
    token = secrets.token_hex(8)
    handle.request(StopRequested(token))

    def failure(status: JobStatus) -> str:
        taken = next((one for one in reversed(status.checkpoints) if one.request == token), None)
        return taken.reason if taken is not None and taken.state in {"failed", "abandoned"} else ""

    handle.wait_until(lambda status: bool(failure(status)), timeout_s)
    status = handle.status()
    if not status.state.is_final and failure(status):
        text = explained(
            f"job {handle.meta.name}",
            needed="a last checkpoint, to end with what is open in it",
            got=failure(status),
            hint="stop(drain=True) ends without, and fires what is open; cancel() drops it",
        )
        raise JobError(text)
    return status.state


def stop_with_savepoint(
    handle: JobHandle, path: str | os.PathLike[str], timeout_s: float | None, *, drain: bool
) -> JobState:
    """Let a job stop with a savepoint, taken before what is open is fired or, with `drain`, after that.

    Raises
    ------
    OptionError
        If there is a savepoint at that place already.
    JobError
        If the job takes no checkpoints, has ended before the savepoint could be taken, or does not end in time.
    CheckpointError
        If the checkpoint cannot be copied.
    """
    target = check_is_free(path)
    check_checkpointing(handle, "stop with a savepoint")
    if drain:
        return _drain_into(handle, target, timeout_s)
    token = secrets.token_hex(8)
    handle.request(StopRequested(token))
    taken = handle.wait_for_checkpoint(token, timeout_s)
    if taken is None or taken.state != "complete":
        # When the checkpoint has failed, the job goes on.
        state = handle.status().state
        raise _no_savepoint(
            handle, f"a job that is {state}" if taken is None else f"a checkpoint that is {taken.state} {taken.reason}"
        )
    state = handle.wait(timeout_s).state
    save(handle, taken.id, target)
    return state


def _drain_into(handle: JobHandle, target: Blobs, timeout_s: float | None) -> JobState:
    """Let a job stop as if its sources had come to their end, and save its last checkpoint."""
    before = handle.status().state
    state = end(handle, StopRequested(), timeout_s)
    last = next((one for one in reversed(handle.status().checkpoints) if one.state == "complete"), None)
    if before.is_final or state is not JobState.STOPPED or last is None:
        raise _no_savepoint(handle, f"a job that is {state}")
    save(handle, last.id, target)
    return state


def _no_savepoint(handle: JobHandle, got: str) -> JobError:
    return JobError(explained(f"job {handle.meta.name}", needed="to end with a savepoint", got=got))


def check_checkpointing(handle: JobHandle, step: str) -> None:
    """Raise JobError unless a job takes checkpoints."""
    if not takes_checkpoints(handle):
        hint = "start it with checkpoint_every=…"
        raise JobError(explained(step, needed="a job that takes checkpoints", got="one that does not", hint=hint))
