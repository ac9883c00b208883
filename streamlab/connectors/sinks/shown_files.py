"""Which checkpoints' files a sink has begun to show: readers may take files away as soon as they see them.

A commit that is repeated finds neither the hidden file nor the visible one when a reader has moved it. So before the
first file of a transaction is shown, the job's folder says so durably; what is missing afterwards was shown.

::

    <job>/staged/<step>/shown-<subtask>      the id of the newest such checkpoint
"""

from __future__ import annotations

import os
from pathlib import Path

from streamlab.connectors.files.durable_files import BY_UMASK, make_folder, sync
from streamlab.connectors.sinks.staging import staged_folder

_PREFIX = "shown-"


class ShownFiles:
    """The marks of one sink of a job.

    Parameters
    ----------
    job
        The job's folder.
    step
        Name of the sink's step.
    """

    def __init__(self, job: Path, step: str) -> None:
        self._job = job
        self._folder = staged_folder(job, step)

    @property
    def job_is_there(self) -> bool:
        """Whether the job's folder has not been removed."""
        return self._job.is_dir()

    def newest(self) -> int:
        """Return the newest checkpoint that any subtask has begun to show; 0 before the first."""
        marks = self._folder.glob(f"{_PREFIX}*[0-9]")
        return max((int(mark.read_text()) for mark in marks), default=0)

    def has_begun(self, subtask: int, checkpoint: int) -> bool:
        """Return whether the subtask's files of this checkpoint, or of a later one, have begun to be shown."""
        mark = self._folder / f"{_PREFIX}{subtask}"
        return mark.exists() and int(mark.read_text()) >= checkpoint

    def begin(self, subtask: int, checkpoint: int) -> None:
        """Say durably that files are about to be shown. Raises OSError."""
        make_folder(self._folder, BY_UMASK)
        draft = self._folder / f"{_PREFIX}{subtask}.{os.getpid()}.new"
        with draft.open("w") as file:
            file.write(str(checkpoint))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / f"{_PREFIX}{subtask}")
        sync(self._folder)
