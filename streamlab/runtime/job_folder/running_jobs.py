"""Which jobs run, found without a look at those that have ended: an empty file for each in ``<home>/running``.

A job is noted before its folder is filled, and forgotten by the first client that sees that it has ended; so a note may
be of a job that has ended, but no job runs without one.
"""

from __future__ import annotations

from pathlib import Path

from streamlab.runtime.job_folder.folder import JobFolder, list_folders
from streamlab.runtime.job_folder.home import JOBS, RUNNING, home, trusted_home


def note_running(job_id: str) -> None:
    """Note that a job runs from now on."""
    (_folder() / job_id).touch(mode=0o600)


def forget_running(job_id: str) -> None:
    """Note that a job has ended."""
    (_folder() / job_id).unlink(missing_ok=True)


def noted_running() -> list[JobFolder]:
    """Return the folders of all jobs that may run."""
    return [JobFolder(home() / JOBS / path.name) for path in _folder().iterdir()]


def _folder() -> Path:
    folder = trusted_home() / RUNNING
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Jobs of a version that took no notes.
        for job in list_folders():
            note_running(job.id)
    return folder
