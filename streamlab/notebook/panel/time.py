"""Event time: how far it has come, what holds it back, which windows are open, and which rows came too late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from streamlab.job.job import Job
from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.chart_data import ChartData
from streamlab.notebook.panel.choice import Choice, TableChoice
from streamlab.notebook.panel.course import OLD_MS, ChartLines, Course
from streamlab.notebook.panel.results import LONGEST_CELL, Page, first_place, page_of
from streamlab.notebook.panel.tables import packed_table
from streamlab.observe.clock import clock
from streamlab.observe.preview import as_text, plain
from streamlab.observe.status import JobStatus
from streamlab.observe.wording import UNKNOWN, span

PANE_SIGNS = {"open": "○ open", "fired": "● fired", "refined": "◉ refined", "closed": "■ closed"}
"""A sign beside each word, so that states can be told apart at a glance, and without colour."""


class TimeTab:
    """What a job shows of event time.

    Parameters
    ----------
    job
        The job.
    course
        Its figures over time.
    """

    def __init__(self, job: Job, course: Course) -> None:
        self._job = job
        self.charts = ChartData(
            course,
            {
                "skew": lambda: ChartLines(course.arrivals()),
                "ahead": course.ahead,
                "watermarks": lambda: ChartLines(course.watermarks()),
                "lag": course.lags,
            },
        )
        self._told: tuple[JobStatus, list[dict[str, str]], pl.DataFrame] | None = None
        """Findings and splits, and the status that they are of."""
        self._late: tuple[object, pl.DataFrame] | None = None
        self._pages = {
            "panes": _Pages("newest window_end first", "no windows", counts=True),
            "late": _Pages("newest noted_at first", "no late rows"),
            "splits": _Pages("lowest watermark first", "nothing is known of splits", counts=True),
        }

    def values(self, status: JobStatus, choice: Choice, binary: Binary) -> dict[str, Any]:
        """Return what is to be shown. What is made of the figures over time is made when there are new ones."""
        charts = self.charts.values(binary)
        if self._told is None or self._told[0] != status:
            findings = [finding_values(finding) for finding in self._job.diagnosis(status)]
            self._told = status, findings, self._job.splits(status)
        _, findings, known_splits = self._told
        now = charts["version"], status.state, status.late_rows, status.merged_late_rows
        if self._late is None or self._late[0] != now:
            self._late = now, self._job.lateness()
        panes, are_new = self._job.newest_panes()
        windows = self._pages["panes"].packed(panes, shown_panes, choice.panes, binary)
        if not are_new:
            asked = "the workers are being asked"
            windows["count"] = f"{windows['count']} · as last looked at: {asked}" if panes.height else asked
        splits = self._pages["splits"].packed(known_splits, shown_splits, choice.splits, binary)
        splits["count"] += _untold(status)
        return {
            "findings": findings,
            "calm": _calm(status),
            "charts": charts,
            "panes": windows,
            "late": self._pages["late"].packed(
                self._late[1], shown_late, choice.late, binary, of_all=status.late_rows + status.merged_late_rows
            ),
            "splits": splits,
        }


class _Pages:
    """Gives pages of a table that seldom changes: one is worked out when the table or the choice is another.

    Parameters
    ----------
    order
        In words, how the rows lie.
    empty
        What to say when there are no rows.
    counts
        Whether its integers are counts.
    """

    def __init__(self, order: str, empty: str, *, counts: bool = False) -> None:
        self._order = order
        self._empty = empty
        self._counts = counts
        self._known: tuple[TableChoice, pl.DataFrame, Page] | None = None

    def packed(
        self,
        table: pl.DataFrame,
        shown: Callable[[pl.DataFrame], pl.DataFrame],
        choice: TableChoice,
        binary: Binary,
        *,
        of_all: int = 0,
    ) -> dict[str, Any]:
        """Return the chosen page.

        Parameters
        ----------
        table
            All rows that are known.
        shown
            Makes of the table what people see.
        choice
            What to show of it.
        binary
            Takes the cells.
        of_all
            Rows that there have been, of which the table may hold only the newest.
        """
        known = self._known
        if known is None or known[0] != choice or not (known[1] is table or known[1].equals(table)):
            known = self._known = choice, table, self._page(table, shown, choice)
        return packed_table(replace(known[2], of_all=of_all), choice, binary, self._empty)

    def _page(self, table: pl.DataFrame, shown: Callable[[pl.DataFrame], pl.DataFrame], choice: TableChoice) -> Page:
        order = self._order if table.height else ""
        if choice.where.strip() or choice.sort is not None:
            return page_of(shown(table), choice, in_order=order, counts=self._counts)[1]
        # As they lie: the rows of the other pages need not be put into words.
        first = first_place(choice, table.height)
        rows = shown(table.slice(first, choice.rows))
        text = as_text(rows, table.height, order, counts=self._counts, longest=LONGEST_CELL)
        return Page(text, table.height, first)


def _calm(status: JobStatus) -> str:
    """Return what to say when there are no findings."""
    if not status.rows_in and not status.state.is_final:
        return "Nothing can be said before there are rows."
    if status.tasks and not any(task.time.clocks for task in status.tasks):
        return "No source of this job has an event time (event_time=), so there are no watermarks, and no row is late."
    return "✓ Nothing stands out." if status.state.is_final else "✓ Nothing stands out: no step holds the others back."


def _untold(status: JobStatus) -> str:
    """Return in words how many splits are not told of: of very many in one task, only those are that lie back most."""
    count = sum(task.time.split_count - len(task.time.splits) for task in status.tasks)
    return f" · {count:,} more, furthest ahead or ended, are not shown" if count > 0 else ""


def finding_values(finding: Any) -> dict[str, str]:
    """Return a finding of the diagnosis as texts."""
    return {
        "severity": str(finding.severity),
        "sign": finding.severity.sign,
        "kind": finding.kind,
        "sentence": plain(finding.sentence),
        "move": plain(finding.move),
        "subject": plain(str(finding.subject)),
    }


def shown_panes(panes: pl.DataFrame) -> pl.DataFrame:
    """Return windows with signs beside their states."""
    return panes.with_columns(pl.col("state").cast(pl.String).replace(PANE_SIGNS))


def shown_late(late: pl.DataFrame) -> pl.DataFrame:
    """Return late rows with spans of time in words, what matters first."""
    words = [_spans(late[name]).alias(new) for name, new in (("behind_ms", "behind"), ("closed_for_ms", "closed_for"))]
    first = ["outcome", "behind", "event_time", "watermark", "window_end", "closed_for"]
    rest = pl.exclude(*first, "behind_ms", "closed_for_ms", "window_start", "noted_at", "step")
    seconds = pl.col("watermark").dt.truncate("1s")
    noted = [None if us is None else clock(us) for us in late["noted_at"].dt.epoch("us").to_list()]
    noted_at = pl.Series("noted_at", noted, pl.String)
    return late.with_columns(seconds, *words, noted_at).select(*first, "step", rest, "noted_at")


def shown_splits(splits: pl.DataFrame) -> pl.DataFrame:
    """Return splits with spans of time in words."""
    state = (
        pl.when("ended")
        .then(pl.lit("■ ended"))
        .when("idle")
        .then(pl.lit("◌ idle"))
        .when("begun")
        .then(pl.lit("● being read"))
    ).otherwise(pl.lit("○ waits"))
    is_old = (pl.col("lag_ms") >= OLD_MS).fill_null(value=False)
    lag = splits.select(pl.when(~is_old).then("lag_ms")).to_series()
    return splits.select(
        "source",
        "split",
        state.alias("state"),
        "rows",
        _seconds("watermark"),
        _spans(lag).alias("lag"),
        _seconds("latest"),
        _spans(splits["quiet_ms"]).alias("quiet for"),
    )


def _seconds(name: str) -> pl.Expr:
    return pl.col(name).dt.to_string("%Y-%m-%d %H:%M:%S").fill_null(UNKNOWN)


def _spans(column: pl.Series) -> pl.Series:
    return pl.Series(column.name, [UNKNOWN if ms is None else span(ms) for ms in column.to_list()], pl.String)
