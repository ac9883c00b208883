"""Deletes the folders of ended jobs, all but the newest: beside a start, not before it, and once a minute at most."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from streamlab.core.errors import JobError, StateError
from streamlab.runtime.client.client import JobHandle, is_running, list_jobs
from streamlab.runtime.job_folder.folder import CheckpointPlace
from streamlab.runtime.job_folder.home import home, open_private, registry_lock
from streamlab.runtime.job_folder.retention import KEEP_ENDED_JOBS, EndedJob, bytes_to_keep, folder_bytes, surplus
from streamlab.state.checkpoints.blobs import open_blobs
from streamlab.state.checkpoints.pins import Pins

_EVERY_S = 60.0
_AFTER_S = 2.0
"""How long after a start it is swept: until then the job needs the processors itself."""


def sweep(
    keep: int = KEEP_ENDED_JOBS,
    keep_bytes: int | None = None,
    *,
    spared: Sequence[CheckpointPlace] = (),
    dry: bool = False,
) -> tuple[list[EndedJob], list[EndedJob]]:
    """Delete the folders of ended jobs except for the newest, and return which were deleted and which are left.

    Parameters
    ----------
    keep
        How many jobs stay at most.
    keep_bytes
        How many bytes stay at most, but for the newest job; None leaves it to the environment.
    spared
        Checkpoints whose jobs stay in any case, like those that a running job has started from.
    dry
        Whether nothing is deleted, and it is only said what would be.
    """
    handles = {handle.meta.id: handle for handle in list_jobs()}
    running = {id_: is_running(handle) for id_, handle in handles.items()}
    needed = _needed([handles[id_] for id_, runs in running.items() if runs], spared)
    ended = [_ended_job(handles[id_], needed) for id_, runs in running.items() if runs is False]
    old = surplus(ended, keep, bytes_to_keep() if keep_bytes is None else keep_bytes)
    for job in () if dry else old:
        # A job that is being started right now may need it.
        with registry_lock():
            if not Pins(open_blobs(handles[job.id].folder.path)).in_use:
                handles[job.id].remove()
    return old, [job for job in ended if job not in old]


def _needed(running: Sequence[JobHandle], spared: Sequence[CheckpointPlace]) -> set[str]:
    """Return the ids of jobs whose checkpoints are needed."""
    places = [*spared, *(place for job in running for place in (job.meta.origin, job.meta.until) if place is not None)]
    return {place.location.rstrip("/").rpartition("/")[2] for place in places}


def _ended_job(handle: JobHandle, needed: Collection[str]) -> EndedJob:
    folder, status = handle.folder, handle.status()
    is_needed = folder.id in needed or Pins(open_blobs(folder.path)).in_use
    return EndedJob(folder.id, handle.meta.name, status.ended_us or 0, folder_bytes(folder.path), is_needed)


class _Sweeper:
    """Sweeps a while after a start, at the latest when this process ends."""

    def __init__(self) -> None:
        self._due: Path | None = None
        """What is to be swept."""

    def sweep_later(self) -> None:
        """Sweep soon, unless somebody has lately."""
        if self._due != home() and _was_long_ago():
            self._due = home()
            timer = threading.Timer(_AFTER_S, self.sweep_if_due)
            timer.daemon = True
            timer.start()

    def sweep_if_due(self) -> None:
        """Sweep now if that was to be done soon."""
        due, self._due = self._due, None
        if due == home():
            # What cannot be deleted now is deleted by the next one.
            with contextlib.suppress(OSError, JobError, StateError):
                stamp = open_private(_stamp())
                os.utime(stamp)
                os.close(stamp)
                sweep()

    def forget(self) -> None:
        """Leave it to the process that this one was forked from."""
        self._due = None


def _stamp() -> Path:
    """Return the file whose time is that of the latest sweep."""
    return home() / "swept"


def _was_long_ago() -> bool:
    try:
        return abs(time.time() - _stamp().stat().st_mtime) > _EVERY_S
    except FileNotFoundError:
        return True


_SWEEPER = _Sweeper()
sweep_later = _SWEEPER.sweep_later
atexit.register(_SWEEPER.sweep_if_due)
os.register_at_fork(after_in_child=_SWEEPER.forget)
