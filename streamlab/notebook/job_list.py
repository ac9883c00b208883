"""The list of jobs that ``%stream`` shows."""

from __future__ import annotations

from collections.abc import Sequence

from streamlab.notebook import static_view
from streamlab.observe.clock import clock
from streamlab.observe.status import JobStatus
from streamlab.observe.wording import STATE_MARKS, duration_ms, rate, span, watermark
from streamlab.session.job import Job

_COLUMNS = (
    *(("name", False), ("state", False)),
    *(("rows in", True), ("rows/s", True), ("rows out", True), ("late rows", True)),
    *(("watermark", False), ("started", False), ("took", True), ("id", False)),
)
"""Names, and which columns are numbers, set flush right."""
_NEWEST = 10
"""Jobs that are shown whether they run or not; of older ones those that run."""
_NONE = "No jobs. A cell that begins with %%stream starts one."


class JobList:
    """Jobs as a table, in a notebook and in a terminal.

    Parameters
    ----------
    jobs
        The jobs, oldest first; the newest is shown first, and of those that ended long ago the number only.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        told = [job.report() for job in reversed(jobs)]
        shown = told[:_NEWEST] + [status for status in told[_NEWEST:] if not status.state.is_final]
        self._rows = [_row(status) for status in shown]
        older = len(told) - len(shown)
        self._older = f"and {older:,} older that have ended: sl.jobs()" if older else ""

    def __repr__(self) -> str:
        if not self._rows:
            return _NONE
        rows = [tuple(name for name, _ in _COLUMNS), *self._rows]
        widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        forms = [f"{'>' if numeric else '<'}{width}" for (_, numeric), width in zip(_COLUMNS, widths, strict=True)]
        lines = ["  ".join(map(format, row, forms)).rstrip() for row in rows]
        return "\n".join([*lines, *filter(None, [self._older])])

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<i>{_NONE}</i>"
        names, numeric = zip(*_COLUMNS, strict=True)
        older = f"<div>{self._older}</div>" if self._older else ""
        return static_view.table(names, self._rows, numeric=numeric) + older


def _row(status: JobStatus) -> tuple[str, ...]:
    return (
        status.name,
        f"{STATE_MARKS[status.state]} {status.state}",
        f"{status.rows_in:,}",
        rate(status),
        f"{status.rows_out:,}",
        f"{status.late_rows:,}",
        watermark(status.watermark_us),
        clock(status.started_us or status.submitted_us),
        span(duration_ms(status)) if status.state.is_final else "",
        status.id,
    )
