"""The one place that wires things: sources make frames, frames run as jobs, jobs are found again."""

from __future__ import annotations

from streamlab.job.job import Job
from streamlab.job.local_runner import LocalRunner
from streamlab.runtime.client.client import find, list_jobs

__all__ = ["Job", "attach", "jobs"]


def jobs() -> list[Job]:
    """Return all jobs of this user that are still stored, running ones and ended ones, oldest first.

    Examples
    --------
    ``[job.name for job in sl.jobs() if not job.status.is_final]`` are those that run.
    """
    return [Job(handle, LocalRunner()) for handle in list_jobs()]


def attach(name_or_id: str) -> Job:
    """Return a job by its id or its name, whichever process has started it; of several the newest that runs.

    Parameters
    ----------
    name_or_id
        What ``start(name)`` was given, or ``job.id``.

    Raises
    ------
    JobError
        If there is none.

    Examples
    --------
    ``sl.attach("hourly").results()``
    """
    return Job(find(name_or_id), LocalRunner())
