"""Event time: how far it has come, what holds it back, which windows are open, and which rows came too late."""

from __future__ import annotations

from typing import Any

import polars as pl

from streamlab.notebook.panel.choice import Choice, TableChoice
from streamlab.notebook.panel.course import Course, packed_lines
from streamlab.notebook.panel.results import page_of
from streamlab.notebook.panel.tables import packed_table
from streamlab.notebook.wire import Binary
from streamlab.observe.preview import plain
from streamlab.observe.status import JobStatus
from streamlab.observe.wording import UNKNOWN, span
from streamlab.session.job import Job

SIGNS = {"problem": "✗", "warning": "▲", "hint": "•"}
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
        self._course = course
        self._late: tuple[int, pl.DataFrame] = (-1, pl.DataFrame())

    def values(self, status: JobStatus, choice: Choice, binary: Binary) -> dict[str, Any]:
        """Return what is to be shown."""
        self._course.read()
        late = self._late_rows(status)
        panes = shown_panes(self._job.panes(wait=False))
        return {
            "findings": [finding_values(finding) for finding in self._job.diagnosis()],
            "charts": {
                "skew": packed_lines(self._course.arrivals(), binary),
                "ahead": packed_lines(self._course.ahead(), binary),
                "watermarks": packed_lines(self._course.watermarks(), binary),
                "lag": packed_lines(self._course.lags(), binary),
            },
            "panes": _packed(panes, choice.panes, binary, "window_end", "no windows: no step has any, or none yet"),
            "late": _packed(late, choice.late, binary, "noted_at", "no late rows"),
            "splits": _packed(
                shown_splits(self._job.splits()),
                TableChoice(rows=50),
                binary,
                "watermark",
                "nothing is known of splits",
            ),
        }

    def _late_rows(self, status: JobStatus) -> pl.DataFrame:
        """Return the late rows; they are read again when there are more of them."""
        count = status.late_rows + status.merged_late_rows
        if self._late[0] != count:
            self._late = count, shown_late(self._job.lateness())
        return self._late[1]


def finding_values(finding: Any) -> dict[str, str]:
    """Return a finding of the diagnosis as texts."""
    return {
        "severity": str(finding.severity),
        "sign": SIGNS[str(finding.severity)],
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
    words = [_span(name).alias(new) for name, new in (("behind_ms", "behind"), ("closed_for_ms", "closed_for"))]
    first = ["outcome", "behind", "event_time", "watermark", "window_end", "closed_for"]
    rest = pl.exclude(*first, "behind_ms", "closed_for_ms", "window_start", "noted_at", "step")
    seconds = pl.col("watermark").dt.truncate("1s")
    return late.with_columns(seconds, *words).select(*first, "step", rest, "noted_at")


def shown_splits(splits: pl.DataFrame) -> pl.DataFrame:
    """Return splits with spans of time in words."""
    state = (
        pl.when("ended")
        .then(pl.lit("■ ended"))
        .when("idle")
        .then(pl.lit("◌ idle"))
        .when("begun")
        .then(pl.lit("● read"))
    ).otherwise(pl.lit("○ waiting"))
    return splits.select(
        "source",
        "split",
        state.alias("state"),
        "rows",
        "watermark",
        _span("lag_ms").alias("lag"),
        "latest",
        _span("quiet_ms").alias("quiet for"),
    )


def _span(name: str) -> pl.Expr:
    return pl.col(name).map_elements(span, return_dtype=pl.String, skip_nulls=True).fill_null(UNKNOWN)


def _packed(table: pl.DataFrame, choice: TableChoice, binary: Binary, order: str, empty: str) -> dict[str, Any]:
    in_order = f"newest {order} first" if table.height else ""
    return packed_table(page_of(table, choice, in_order=in_order)[1], choice, binary, empty)
