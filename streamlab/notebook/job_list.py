"""The list of jobs that ``%stream`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from streamlab.observe.wording import STATE_MARKS, watermark
from streamlab.session.job import Job

_CELL = "padding:2px 24px 2px 0;text-align:left;border:none;background:none;font-variant-numeric:tabular-nums"
_COLUMNS = ("name", "state", "rows in", "rows out", "late rows", "watermark", "id")


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
            return "No jobs."
        table = [_COLUMNS, *self._rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(_COLUMNS))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        )

    def _repr_html_(self) -> str:
        if not self._rows:
            return "<i>No jobs.</i>"
        head = "".join(f'<th style="{_CELL}">{name}</th>' for name in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in row) + "</tr>" for row in self._rows
        )
        return f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


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
