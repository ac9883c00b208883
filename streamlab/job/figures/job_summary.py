"""A job in a few lines, for where nothing livelier can be shown: as text and as HTML."""

from __future__ import annotations

import html

from streamlab.job.figures.failures import error_of
from streamlab.observe.status import JobStatus
from streamlab.observe.wording import duration_ms, input_read, rate, restarts, span, state_text, watermark


def summary_text(status: JobStatus) -> str:
    """Return one line of figures, and why the job failed if it did."""
    figures = ", ".join(f"{label} {value}" for label, value in _figures(status))
    text = f"<Job {status.name!r} ({status.id}): {state_text(status)}, {figures}>"
    return f"{text}\n{status.failure.message}" if status.failure is not None else text


def summary_html(status: JobStatus) -> str:
    """Return a table of figures, and why the job failed if it did, with all that helps."""
    rows = [("state", state_text(status)), *_figures(status)]
    cells = "".join(
        f"<tr><th style='text-align:left;padding-right:1em'>{html.escape(label)}</th>"
        f"<td style='text-align:right'>{html.escape(value)}</td></tr>"
        for label, value in rows
    )
    title = f"<b>{html.escape(status.name)}</b> <code>{html.escape(status.id)}</code>"
    failure = f"<pre>{html.escape(str(error_of(status.failure)))}</pre>" if status.failure is not None else ""
    return f"<div>{title}<table>{cells}</table>{failure}</div>"


def _figures(status: JobStatus) -> list[tuple[str, str]]:
    total = f" of {status.rows_total:,}" if status.rows_total is not None else ""
    figures = [("rows in", f"{status.rows_in:,}{total}")]
    if read := input_read(status):
        figures.append(("input read", read))
    figures += [
        ("rows out", f"{status.rows_out:,}"),
        ("late rows", f"{status.late_rows:,}"),
        ("dead letters", f"{status.dead_letters:,}"),
    ]
    if status.rows_dropped:
        figures.append(("no longer kept", f"{status.rows_dropped:,}"))
    if status.watermark_us is not None:
        figures.append(("watermark", watermark(status.watermark_us)))
    figures.append(("rows/s", rate(status)))
    if status.state.is_final:
        figures.append(("took", span(duration_ms(status))))
    return figures + [(figure.label, figure.value) for figure in restarts(status)]
