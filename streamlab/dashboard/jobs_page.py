"""The list of jobs, one line a name, the newest first; each run links to its page, and a text chooses among them."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from bokeh.document import Document
from bokeh.models import Div, TextInput

from streamlab.dashboard import page
from streamlab.job import jobs
from streamlab.observe.job_list import COLUMNS, JobLine, job_lines, state_cell
from streamlab.observe.status import JobStatus

REFRESH_MS = 1000
_FIELD = """
:host { color: var(--jp-ui-font-color1); font-size: 13px; }
.bk-input { background: var(--jp-layout-color1); border-color: var(--jp-border-color2); color: inherit; }
.bk-input::placeholder { color: var(--jp-ui-font-color2); }
"""
"""The page's colours for the field of the filter, which Bokeh gives its own."""
_OLDER_RUNS = 8
"""Runs of one name that are linked to, besides the newest."""


class JobsPage:
    """One browser tab with the list, which keeps itself up to date.

    Parameters
    ----------
    document
        A new one, of one browser tab.
    """

    def __init__(self, document: Document) -> None:
        self._filter = TextInput(placeholder="name, state or id", title="Show", width=240, stylesheets=[_FIELD])
        self._filter.on_change("value_input", lambda _attr, _old, _new: self._update())
        self._table = Div(text=jobs_table(), sizing_mode="stretch_width", stylesheets=[page.style()])
        document.add_root(self._filter)
        document.add_root(self._table)
        page.fill_with_html(document, "Jobs", "<h1>Jobs</h1>")
        document.add_periodic_callback(self._update, REFRESH_MS)

    def _update(self) -> None:
        text = jobs_table(self._filter.value_input)
        if self._table.text != text:
            self._table.text = text


def jobs_table(filter_by: str = "") -> str:
    """Return the list as HTML: the jobs that have a text in their name, state or id."""
    lines = job_lines((job.report() for job in reversed(jobs())), filter_by.strip())
    if not lines:
        none = f"No jobs with “{escape(filter_by.strip())}” in their name, state or id."
        return f"<p>{none}</p>" if filter_by.strip() else "<p>No jobs. Start one: <code>streamlab demo</code></p>"
    head = "".join(f'<th scope="col" class="{_kind(numeric)}">{name}</th>' for name, numeric in COLUMNS)
    rows = "".join(map(_row, lines))
    return f'<table class="sl-jobs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(line: JobLine) -> str:
    shown = dict(zip((name for name, _ in COLUMNS), map(escape, line.cells), strict=True))
    shown["name"] = _link(line.newest, shown["name"])
    older = line.runs[1 : 1 + _OLDER_RUNS]
    if older:
        links = " ".join(_link(run, f"{state_cell(run).partition(' ')[0]}", title=state_cell(run)) for run in older)
        shown["runs"] = f"{shown['runs']} {links}{' …' if len(line.runs) > 1 + _OLDER_RUNS else ''}"
    cells = (f'<td class="{_kind(numeric)}">{shown[name]}</td>' for name, numeric in COLUMNS)
    return f"<tr>{''.join(cells)}</tr>"


def _link(status: JobStatus, text: str, *, title: str = "") -> str:
    said = f"{status.id}, {title}" if title else status.name
    return f'<a href="job?name={quote(status.id, safe="")}" title="{escape(said)}">{text}</a>'


def _kind(numeric: bool) -> str:  # noqa: FBT001 - a fact about a column
    return "sl-number" if numeric else ""
