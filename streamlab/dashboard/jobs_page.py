"""The list of jobs, the newest first; each links to its page."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from bokeh.document import Document
from bokeh.models import Div

from streamlab import session
from streamlab.dashboard import page
from streamlab.observe.status import JobStatus
from streamlab.observe.wording import STATE_MARKS, short_number, watermark

REFRESH_MS = 1000
_COLUMNS = (
    ("name", ""),
    ("state", ""),
    ("rows in", "sl-number"),
    ("rows/s", "sl-number"),
    ("watermark", ""),
    ("id", ""),
)


class JobsPage:
    """One browser tab with the list, which keeps itself up to date.

    Parameters
    ----------
    document
        A new one, of one browser tab.
    """

    def __init__(self, document: Document) -> None:
        self._table = Div(text=jobs_table(), sizing_mode="stretch_width", stylesheets=[page.style()])
        document.add_root(self._table)
        page.fill_with_html(document, "Jobs", "<h1>Jobs</h1>")
        document.add_periodic_callback(self._update, REFRESH_MS)

    def _update(self) -> None:
        text = jobs_table()
        if self._table.text != text:
            self._table.text = text


def jobs_table() -> str:
    """Return the list as HTML."""
    jobs = [job.report() for job in reversed(session.jobs())]
    if not jobs:
        return "<p>No jobs. Start one: <code>streamlab demo</code></p>"
    head = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in _COLUMNS)
    rows = "".join(map(_row, jobs))
    return f'<table class="sl-jobs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(status: JobStatus) -> str:
    cells = (
        f'<a href="job?name={quote(status.id, safe="")}" title="{escape(status.name)}">{escape(status.name)}</a>',
        escape(f"{STATE_MARKS[status.state]} {status.state}"),
        f"{status.rows_in:,}",
        "" if status.state.is_final else short_number(status.rows_in_per_s),
        watermark(status.watermark_us),
        escape(status.id),
    )
    shown = (f'<td class="{kind}">{cell}</td>' for (_, kind), cell in zip(_COLUMNS, cells, strict=True))
    return f"<tr>{''.join(shown)}</tr>"
