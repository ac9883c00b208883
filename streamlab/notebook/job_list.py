"""The list of jobs that ``%stream`` shows."""

from __future__ import annotations

from collections.abc import Sequence

from streamlab.notebook import static_view
from streamlab.observe.wording import STATE_MARKS, watermark
from streamlab.session.job import Job

_COLUMNS = (
    *(("name", False), ("state", False)),
    *(("rows in", True), ("rows out", True), ("late rows", True)),
    *(("watermark", False), ("id", False)),
)
"""Names, and which columns are numbers, set flush right."""
_NONE = "No jobs. A cell that begins with %%stream starts one."


class JobList:
    """Jobs as a table, in a notebook and in a terminal.

    Parameters
    ----------
    jobs
        The jobs, oldest first; the newest is shown first.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._rows = [_row(job) for job in reversed(jobs)]

    def __repr__(self) -> str:
        if not self._rows:
            return _NONE
        rows = [tuple(name for name, _ in _COLUMNS), *self._rows]
        widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        forms = [f"{'>' if numeric else '<'}{width}" for (_, numeric), width in zip(_COLUMNS, widths, strict=True)]
        return "\n".join("  ".join(map(format, row, forms)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<i>{_NONE}</i>"
        names, numeric = zip(*_COLUMNS, strict=True)
        return static_view.table(names, self._rows, numeric=numeric)


def _row(job: Job) -> tuple[str, ...]:
    status = job.report()
    return (
        status.name,
        f"{STATE_MARKS[status.state]} {status.state}",
        f"{status.rows_in:,}",
        f"{status.rows_out:,}",
        f"{status.late_rows:,}",
        watermark(status.watermark_us),
        status.id,
    )
