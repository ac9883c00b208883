"""Why a job could not go on, in words, when it is no step's fault."""

from __future__ import annotations

from streamlab.core.errors import explained
from streamlab.observe.status import Failure

_FULL = "No space left on device", "Disk quota exceeded"
"""What the operating system says when nothing more can be written."""


def folder_failed(job: str, reason: str) -> Failure:
    """Return what is told when the job's folder cannot be written."""
    text = explained(
        f"job {job}",
        needed="a writable job folder with free space",
        got=reason,
        hint="free some space, or set STREAMLAB_HOME to another disk" if _is_full(reason) else "see job.log()",
    )
    return Failure(message=text, kind="StateError")


def last_checkpoint_failed(job: str, reason: str) -> Failure:
    """Return what is told when all tasks have ended and their sinks cannot commit."""
    hint = "free some space" if _is_full(reason) else "see to the place of its checkpoints (checkpoint_store)"
    text = explained(f"job {job}", needed="to store its last checkpoint", got=reason, hint=hint)
    return Failure(message=text, kind="StateError")


def held_checkpoint_failed(job: str, reason: str) -> Failure:
    """Return what is told when sources held for a checkpoint that has failed."""
    text = explained(f"job {job}", needed="a checkpoint before it ends or is rescaled", got=reason)
    return Failure(message=text, kind="CheckpointError")


def _is_full(reason: str) -> bool:
    return any(text in reason for text in _FULL)
