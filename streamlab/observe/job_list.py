"""Jobs as a list: one line a name, the newest first, with all its runs: in cell, terminal and browser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamlab.observe.clock import clock
from streamlab.observe.preview import plain
from streamlab.observe.status import JobState, JobStatus
from streamlab.observe.wording import STATE_MARKS, last_failure, progress, share, span, times

COLUMNS = (
    *(("name", False), ("state", False), ("started", False), ("duration", True)),
    *(("rows in", True), ("late rows", True), ("errors", False), ("runs", True), ("id", False)),
)
"""Names, and which columns are numbers, set flush right."""
_LINE = 60
"""Characters of a failure in the list."""


@dataclass(frozen=True)
class JobLine:
    """The runs of one name.

    Attributes
    ----------
    runs : tuple[JobStatus, ...]
        The jobs of that name, the newest first: it is the one that figures are shown of.
    """

    runs: tuple[JobStatus, ...]

    @property
    def newest(self) -> JobStatus:
        """The last run."""
        return self.runs[0]

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in each of the columns."""
        status = self.newest
        return (
            plain(status.name),
            state_cell(status),
            clock(status.submitted_us) if status.submitted_us else "",
            duration(status),
            f"{status.rows_in:,}",
            f"{status.late_rows:,}",
            plain(errors(status)),
            f"{len(self.runs):,}",
            status.id,
        )


def job_lines(newest_first: Iterable[JobStatus], filter_by: str = "", *, each_run: bool = False) -> list[JobLine]:
    """Return a line for each name, or for each run, of the jobs that have a text in their name, state or id.

    Parameters
    ----------
    newest_first
        What is known of the jobs.
    filter_by
        The text, in any case of letters; empty: all.
    each_run
        Whether runs of one name have lines of their own.

    Examples
    --------
    >>> runs = [JobStatus(id=f"j-{n}", name="hourly", state=JobState.FINISHED) for n in (3, 2, 1)]
    >>> [(line.newest.id, len(line.runs)) for line in job_lines(runs, "HOUR")]
    [('j-3', 3)]
    """
    wanted = filter_by.casefold()
    lines: dict[str, list[JobStatus]] = {}
    for status in newest_first:
        if any(wanted in text.casefold() for text in (status.name, status.state, status.id)):
            lines.setdefault(status.id if each_run else status.name, []).append(status)
    return [JobLine(tuple(runs)) for runs in lines.values()]


def state_cell(status: JobStatus) -> str:
    """Return a job's state with its sign, and how much of its input one that goes on has read, if that is known."""
    done = None if status.state.is_final else progress(status)
    return f"{STATE_MARKS[status.state]} {status.state}{' elsewhere' if status.elsewhere else ''}" + (
        f" {share(done)}" if done is not None else ""
    )


def duration(status: JobStatus) -> str:
    """Return how long a job has run, from its start to its end or to what was heard of it last."""
    until_us = status.ended_us or status.reported_us
    return span((until_us - status.submitted_us) / 1000) if until_us > status.submitted_us > 0 else ""


def errors(status: JobStatus) -> str:
    """Return what went wrong with a job, in a few words; empty when nothing did.

    >>> errors(JobStatus(id="j", name="n", state=JobState.RUNNING, restarts=2, dead_letters=5))
    'restarted 2 times, 5 dead letters'
    """
    said = []
    if status.failure is not None:
        first = status.failure.message.strip().partition("\n")[0]
        said.append(first if len(first) <= _LINE else f"{first[: _LINE - 1].rstrip()}…")
    elif status.state is JobState.RESTARTING:
        said.append(last_failure(status))
    if status.restarts:
        said.append(f"restarted {times(status.restarts)}")
    if status.dead_letters:
        said.append(f"{status.dead_letters:,} dead letter{'s' if status.dead_letters > 1 else ''}")
    return ", ".join(filter(None, said))
