"""A job in the terminal: a live view where there is one, plain lines where output goes to a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamlab.core.terminal_text import without_escapes
from streamlab.job.job import Job
from streamlab.observe.preview import Preview, preview
from streamlab.observe.status import JobState, JobStatus
from streamlab.observe.wording import STATE_MARKS, Figure, figures, progress, restarts, short_number, watermark

REFRESH_S = 0.2
_LINE_EVERY_S = 2.0
_BAR_WIDTH = 60
_GAP = 3
"""Spaces between columns."""
_MOST_LETTERS = 40
_STATE_STYLES = {
    JobState.RUNNING: "bold blue",
    JobState.FINISHED: "bold green",
    JobState.FAILED: "bold red",
    JobState.PAUSED: "bold yellow",
    JobState.RESTARTING: "bold yellow",
}


def watch(job: Job, console: Console, *, limit: int = 10) -> JobStatus:
    """Show a job until it has ended, and return its last status.

    Parameters
    ----------
    job
        The job.
    console
        Where to; a live view needs a terminal, else plain lines are printed.
    limit
        Most result rows to show.

    Raises
    ------
    KeyboardInterrupt
        When the user has seen enough; the job goes on.
    """
    if not console.is_terminal:
        return _watch_in_lines(job, console)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            status = job.report()
            live.update(draw(status, job, limit), refresh=True)
            if status.state.is_final:
                return status
            time.sleep(REFRESH_S)


def draw(status: JobStatus, job: Job, limit: int) -> RenderableType:
    """Return a job as something that rich can print."""
    title = Text.assemble(
        (f"{STATE_MARKS[status.state]} {status.state}", _STATE_STYLES.get(status.state, "bold")),
        "  ",
        (status.name, "bold"),
        "  ",
        (status.id, "dim"),
    )
    parts: list[RenderableType] = [title]
    done = progress(status)
    if done is not None:
        # A bar that is narrower than the terminal does not end its own line; a grid's row does.
        bar = Table.grid()
        bar.add_row(ProgressBar(total=1.0, completed=done, width=_BAR_WIDTH))
        parts.append(bar)
    told = figures(status)
    parts.append(_Figures([figure for figure in told if not figure.is_sentence]))
    parts += [Text(f"{figure.label} {figure.value}", "yellow") for figure in told if figure.is_sentence]
    if status.failure is not None:
        parts.append(Text(without_escapes(status.failure.message), "red"))
    parts.append(_rows(job, limit))
    return Group(*parts)


def line(status: JobStatus) -> str:
    """Return a job as one line of text."""
    done = progress(status)
    share = f"{done:4.0%}  " if done is not None else ""
    return (
        f"{share}{status.state}  {status.rows_in:,} rows in  {short_number(status.rows_in_per_s)} rows/s  "
        f"watermark {watermark(status.watermark_us)}  {status.rows_out:,} rows out  {status.late_rows:,} late"
        + "".join(f"  {figure.label} {figure.value}" for figure in restarts(status))
    )


def _watch_in_lines(job: Job, console: Console) -> JobStatus:
    next_line_s = 0.0
    while True:
        status = job.report()
        now = time.monotonic()
        if status.state.is_final or now >= next_line_s:
            console.out(line(status), highlight=False)
            next_line_s = now + _LINE_EVERY_S
        if status.state.is_final:
            if status.failure is not None:
                console.out(without_escapes(status.failure.message), highlight=False)
            return status
        time.sleep(REFRESH_S)


def _rows(job: Job, limit: int) -> RenderableType:
    shown = preview(job.results(), limit)
    return Rows(shown) if shown.rows else Text("")


@dataclass(frozen=True)
class _Figures:
    """Figures side by side, in as many lines as they need."""

    shown: Sequence[Figure]

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [max(len(figure.label), len(figure.value)) for figure in self.shown]
        start = 0
        while start < len(widths):
            count = max(1, _fitting(widths[start:], options.max_width))
            grid = Table.grid(padding=(0, _GAP))
            line = self.shown[start : start + count]
            grid.add_row(*(Text(figure.label, "dim") for figure in line))
            grid.add_row(*(Text(figure.value, "bold yellow" if figure.alarming else "") for figure in line))
            yield grid
            start += count


@dataclass(frozen=True)
class Rows:
    """The columns of a table that fit into the terminal, none so wide that it takes the others' place.

    Attributes
    ----------
    shown : Preview
        The table.
    longest : int
        Letters of a cell; what is longer ends in an ellipsis.
    """

    shown: Preview
    longest: int = _MOST_LETTERS

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self.shown
        names = [without_escapes(name) for name in shown.columns]
        cells = [[_printable(row[i]) for row in shown.rows] for i in range(len(names))]
        widths = [
            min(self.longest, max(map(cell_len, (name, *column)))) for name, column in zip(names, cells, strict=True)
        ]
        count = max(1, _fitting(widths, options.max_width))
        table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim")
        for name, numeric, width in list(zip(names, shown.numeric, widths, strict=True))[:count]:
            table.add_column(Text(name), justify="right" if numeric else "left", no_wrap=True, width=width)
        for row in shown.rows:
            table.add_row(*(Text(_printable(cell), "dim italic" if cell is None else "") for cell in row[:count]))
        yield table
        if count < shown.width:
            yield Text(f"the first {count} of {shown.width} columns", "dim")


def _printable(cell: str | None) -> str:
    return "null" if cell is None else without_escapes(cell)


def _fitting(widths: Sequence[int], most: int) -> int:
    """Return how many columns of such widths stand side by side."""
    return sum(end <= most for end in accumulate(width + _GAP for width in widths))
