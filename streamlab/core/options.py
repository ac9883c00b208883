"""What a job can be told when it starts, as one frozen value that is stored in the job's folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

_MOST_BY_DEFAULT = 4


@dataclass(frozen=True)
class JobOptions:
    """Options of one job.

    Attributes
    ----------
    name : str
        The job's name, unique among running jobs.
    parallelism : int
        Subtasks per step that can be parallel, and worker processes.
    batch_rows : int
        Rows a batch grows to at full speed. Neither this nor `batch_ms` changes which rows are late.
    batch_ms : int
        How long a source whose rows trickle in gathers them; a row that comes after a longer silence goes at once.
    channel_batches : int
        Credit of a channel between two tasks: batches that may be on their way.
    keep_rows : int | None
        Rows that the live result table of an endless append-only stream keeps; None keeps all.
    detach : bool
        Whether the job goes on when the process that started it ends.
    paused : bool
        Whether it starts paused, with a clock that stands, for steps by hand.
    on_error : {"fail", "dead_letter"} | None
        What happens to input that cannot be understood, and to rows that a row-wise step fails on. By default the
        first become dead letters, and the second end the attempt.
    step_timeout_ms : int
        How long one call of a user's function may take before the job is ended.
    commit_timeout_ms : int
        How long a sink may take to commit, which may mean to carry many rows into a database.
    heartbeat_timeout_ms : int
        Silence of a worker after which it counts as lost.
    checkpoint_every_ms : int | None
        From the end of one checkpoint to the start of the next; None takes none, and a job that fails is not restarted.
    checkpoint_timeout_ms : int
        How long a checkpoint may take before it is abandoned; the job goes on.
    checkpoint_keep : int
        How many complete checkpoints are kept.
    checkpoint_store : str | None
        Folder or URL that checkpoints are kept in; None is the job's own folder.
    recording_limit_bytes : int
        How large the recording of a split that cannot be read again may become. The oldest of what no checkpoint needs
        is deleted to stay below; when all of it is needed, the job fails before more is read.
    recording_limit_ms : int | None
        For how long what no checkpoint needs stays in a recording; None: as long as there is room.
    max_restarts : int
        Restarts, without a stable time in between, after which the job fails.
    restart_delay_ms, max_restart_delay_ms : int
        Delay of the second restart in a row (the first is made at once), doubled for each that follows up to the most.
    stable_ms : int
        How long an attempt must run for earlier failures to be forgotten.
    """

    name: str
    parallelism: int = 2
    batch_rows: int = 500_000
    batch_ms: int = 200
    channel_batches: int = 8
    keep_rows: int | None = 1_000_000
    detach: bool = False
    paused: bool = False
    on_error: Literal["fail", "dead_letter"] | None = None
    step_timeout_ms: int = 60_000
    commit_timeout_ms: int = 600_000
    heartbeat_timeout_ms: int = 15_000
    checkpoint_every_ms: int | None = None
    checkpoint_timeout_ms: int = 600_000
    checkpoint_keep: int = 3
    checkpoint_store: str | None = None
    recording_limit_bytes: int = 10 * 2**30
    recording_limit_ms: int | None = None
    max_restarts: int = 10
    restart_delay_ms: int = 1_000
    max_restart_delay_ms: int = 60_000
    stable_ms: int = 600_000


def default_parallelism() -> int:
    """Return how many subtasks a step gets when nobody says so: one per processor that we may use, at most four."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_BY_DEFAULT, processors))
