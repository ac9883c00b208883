"""The list of jobs that ``%stream`` shows."""

from __future__ import annotations

import html
from collections.abc import Sequence

from streamlab.job.job import Job
from streamlab.notebook.view import static_view
from streamlab.observe.job_list import COLUMNS, job_lines

_NEWEST = 10
"""Names that are shown whether they run or not; of older ones those that run."""
_NONE = "No jobs. A cell that begins with %%stream starts one."


class JobList:
    """Jobs as a table, one line a name, in a notebook and in a terminal.

    Parameters
    ----------
    jobs
        The jobs, oldest first; the newest is shown first, and of those that ended long ago the number only.
    filter_by
        A text that is in the name, the state or the id of those that are shown; empty: all.
    """

    def __init__(self, jobs: Sequence[Job], filter_by: str = "") -> None:
        told = job_lines((job.report() for job in reversed(jobs)), filter_by)
        shown = told[:_NEWEST] + [line for line in told[_NEWEST:] if not line.newest.state.is_final]
        self._rows = [line.cells for line in shown]
        older = len(told) - len(shown)
        self._older = f"and {older:,} older that have ended: sl.jobs()" if older else ""
        self._none = f"No jobs with {filter_by!r} in their name, state or id." if filter_by else _NONE

    def __repr__(self) -> str:
        if not self._rows:
            return self._none
        rows = [tuple(name for name, _ in COLUMNS), *self._rows]
        widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        forms = [f"{'>' if numeric else '<'}{width}" for (_, numeric), width in zip(COLUMNS, widths, strict=True)]
        lines = ["  ".join(map(format, row, forms)).rstrip() for row in rows]
        return "\n".join([*lines, *filter(None, [self._older])])

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<i>{html.escape(self._none)}</i>"
        names, numeric = zip(*COLUMNS, strict=True)
        older = f"<div>{self._older}</div>" if self._older else ""
        return static_view.table(names, self._rows, numeric=numeric) + older
