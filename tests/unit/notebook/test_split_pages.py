"""The splits of a job with very many of them, and its late rows: in pages, and it is said how many are not told of."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
from test_panel_upkeep import SPLITS, FakeJob

from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.choice import Choice
from streamlab.notebook.panel.course import Course
from streamlab.notebook.panel.time import TimeTab
from streamlab.observe.status import JobState, JobStatus, SplitStatus, TaskStatus, TimeStatus

_TOLD = 30


class ManySplits(FakeJob):
    """Two readers, each with a thousand splits."""

    def __init__(self, each: int = 1000) -> None:
        super().__init__()
        self.each = each

    def report(self) -> JobStatus:
        told = min(self.each, _TOLD)
        time = TimeStatus(splits=tuple(SplitStatus(split=str(n), step="s") for n in range(told)), split_count=self.each)
        tasks = tuple(TaskStatus(vertex="s", subtask=subtask, time=time) for subtask in range(2))
        return JobStatus(id="j", name="n", state=JobState.RUNNING, tasks=tasks)

    def splits(self, report: JobStatus) -> pl.DataFrame:
        rows = pl.DataFrame({"split": [split.split for task in report.tasks for split in task.time.splits]})
        return pl.concat([SPLITS, rows], how="diagonal")


def shown(job: FakeJob, choice: Choice) -> dict[str, Any]:
    splits: dict[str, Any] = TimeTab(job, Course(job.history_feed())).values(job.report(), choice, Binary())["splits"]
    return splits


def test_they_are_paged() -> None:
    first = shown(ManySplits(), Choice())
    assert (first["height"], first["left"]) == (10, 60)
    last = shown(ManySplits(), Choice().changed(of="splits", page=1, rows=50))
    assert (last["first"], last["height"]) == (50, 10)


class ManyLate(FakeJob):
    """The newest 218 rows of those that were late are known."""

    def __init__(self) -> None:
        super().__init__()
        self.late = 218
        self.set_aside = 4_900

    def report(self) -> JobStatus:
        return msgspec.structs.replace(super().report(), late_rows=self.set_aside, merged_late_rows=100)


def test_of_very_many_late_rows_it_is_said_that_the_newest_are_known() -> None:
    job = ManyLate()
    tab = TimeTab(job, Course(job.history_feed()))

    def count(**choice: int) -> str:
        late: dict[str, Any] = tab.values(job.report(), Choice().changed(of="late", **choice), Binary())["late"]
        return str(late["count"])

    assert count() == "rows 1 to 10 of the newest 218 of 5,000, newest noted_at first"
    assert count(rows=500) == "the newest 218 of 5,000 rows, newest noted_at first"
    job.set_aside += 1
    assert count(rows=500) == "the newest 218 of 5,001 rows, newest noted_at first"
    job.set_aside = 118
    assert count() == "rows 1 to 10 of 218, newest noted_at first"


def test_what_is_not_told_is_counted() -> None:
    assert "1,940 more, furthest ahead or ended, are not shown" in shown(ManySplits(), Choice())["count"]
    assert shown(ManySplits(10), Choice())["count"] == "rows 1 to 10 of 20, lowest watermark first"
    assert shown(FakeJob(), Choice())["count"].startswith("1 row")
