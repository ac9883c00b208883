"""What has happened to a job so far, as its status tells it, across its coordinators. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from streamlab.observe.status import Failure, JobStatus


@dataclass
class JobPast:
    """Figures of a job that outlast its attempts.

    Attributes
    ----------
    started_us, ended_us : int | None
        Wall clock of its first row and of its end.
    rows_total, bytes_total : int | None
        Rows, and bytes of files, that there are to be read, when that is known.
    restarts : int
        How often it had to start again.
    last_failure, failure : Failure | None
        Why it had to the last time, and what has ended it.
    """

    started_us: int | None = None
    ended_us: int | None = None
    rows_total: int | None = None
    bytes_total: int | None = None
    restarts: int = 0
    last_failure: Failure | None = None
    failure: Failure | None = None

    @classmethod
    def of(cls, status: JobStatus) -> JobPast:
        """Return what an earlier coordinator knew."""
        return cls(status.started_us, None, status.rows_total, status.bytes_total, status.restarts, status.last_failure)

    def found(self, rows: int | None, n_bytes: int | None) -> None:
        """Note how many rows, and bytes of files, there are to be read, when that is known."""
        self.rows_total, self.bytes_total = rows, n_bytes

    def had_row(self, us: int | None) -> None:
        """Note when a task had its first row."""
        if us is not None:
            self.started_us = us if self.started_us is None else min(self.started_us, us)

    def figures(self) -> dict[str, Any]:
        """Return them by the names of the status' fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
