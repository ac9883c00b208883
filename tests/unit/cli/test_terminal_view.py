"""A job drawn for a terminal, and as lines for a pipe."""

from __future__ import annotations

import io

import polars as pl
from rich.console import Console

from streamlab.cli.terminal_view import draw, line, watch
from streamlab.observe.status import Failure, JobState, JobStatus


class EndedJob:
    """A job with one result row."""

    def __init__(self, status: JobStatus) -> None:
        self._status = status

    def report(self) -> JobStatus:
        return self._status

    def results(self) -> pl.DataFrame:
        return pl.DataFrame({"origin": ["[bold]JFK"], "flights": [7]})


def status(**changes: object) -> JobStatus:
    return JobStatus(**{"id": "j-1", "name": "hourly", "state": JobState.RUNNING, **changes})


def printed(job: EndedJob) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=150)
    console.print(draw(job.report(), job, 5))
    return [text.rstrip() for text in console.file.getvalue().splitlines()]


def test_each_part_stands_on_lines_of_its_own() -> None:
    lines = printed(EndedJob(status(rows_in=250, rows_total=1000)))
    assert lines[0] == "● running  hourly  j-1"
    assert set(lines[1]) <= set("━╸╺ ")
    assert lines[2].startswith("rows in")
    assert lines[3].startswith("250 of 1,000")
    assert lines[4].split() == ["origin", "flights"]
    assert lines[5].split() == ["[bold]JFK", "7"]


def test_a_failure_is_shown() -> None:
    assert "boom" in printed(EndedJob(status(state=JobState.FAILED, failure=Failure(message="boom"))))


def test_lines_for_a_pipe() -> None:
    console = Console(file=io.StringIO(), width=150)
    ended = status(state=JobState.FINISHED, rows_in=1000, rows_out=3, late_rows=2)
    assert watch(EndedJob(ended), console) == ended
    assert console.file.getvalue().splitlines() == [line(ended)]
    assert line(ended) == "100%  finished  1,000 rows in  0 rows/s  watermark —  3 rows out  2 late"


def test_a_job_that_restarts_says_so() -> None:
    lost = Failure(message="start: needs worker process 0 to stay alive, got SIGKILL.\n  → look")
    restarting = status(state=JobState.RESTARTING, restarts=3, last_failure=lost, rows_in=7)
    lines = printed(EndedJob(restarting))
    assert lines[0].startswith("↻ restarting")
    assert "restarts after start: needs worker process 0 to stay alive, got SIGKILL." in lines
    said = "  restarts 3  restarts after start: needs worker process 0 to stay alive, got SIGKILL."
    assert line(restarting).endswith(said)
    assert "7 rows in" in line(restarting)


def test_a_wide_table_and_many_figures_leave_nothing_too_narrow_to_read() -> None:
    class WideJob(EndedJob):
        def results(self) -> pl.DataFrame:
            return pl.DataFrame({"origin": ["JFK"], "words": ["w" * 300], "x" * 90: [1], "last": ["gone"]})

    job = WideJob(status(rows_in=10**12, rows_out=10**12, dead_letters=5, restarts=2, watermark_us=10**15))
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
    console.print(draw(job.report(), job, 5))
    lines = [text.rstrip() for text in console.file.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    for whole in ("1,000,000,000,000", "2001-09-09", "01:46:40", "letters", "restarts", "JFK"):
        assert whole in words
    assert lines[-1] == "the first 2 of 4 columns"
    assert "gone" not in words
