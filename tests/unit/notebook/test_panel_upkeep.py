"""What a panel keeps from one frame to the next never shows: a frame is what a new panel would draw."""

from __future__ import annotations

from statistics import median
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.chart_data import WHOLE_EVERY
from streamlab.notebook.panel.choice import Choice
from streamlab.notebook.panel.course import KEPT_TIMES, Course
from streamlab.notebook.panel.course_lines import MOST_POINTS
from streamlab.notebook.panel.reader import JobReader
from streamlab.notebook.panel.time import TimeTab
from streamlab.observe.history import ArrivalSample, Sample, TaskSample
from streamlab.observe.late_notes import SHOWN as LATE
from streamlab.observe.panes import SHOWN as PANES
from streamlab.observe.status import JobState, JobStatus

S = 1_000_000
SPLITS = pl.DataFrame(
    schema={
        **dict.fromkeys(("source", "split"), pl.String()),
        "rows": pl.Int64(),
        **dict.fromkeys(("watermark", "latest"), pl.Datetime("us", "UTC")),
        **dict.fromkeys(("lag_ms", "quiet_ms"), pl.Float64()),
        **dict.fromkeys(("begun", "idle", "ended"), pl.Boolean()),
    }
)


def sample(number: int) -> Sample:
    at = number * S
    task = TaskSample("read", 0, 5, 5, 10, 10, 1, 1, 1, 2, at, 700, 0, 0, 0, 0, number, 10, 2.5, None, None)
    came = ArrivalSample("win", 0, "win", at, 9, None, None, at, (at + S,), 1, (at - S,), 0, ())
    figures = (0, 9, 4, 90, 40, at, 0, 0, 0, 2000, None, None, None)
    return Sample(number, at, at, 1, "running", *figures, (task,), (), (came,))


class FakeJob:
    """A job that has got as far as the test says; each feed gives the samples that it has not given yet."""

    id, name = "j-1", "fake"
    ends_with_process = is_kept = True

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.windows = self.late = self.splits_read = 0

    def history_feed(self) -> Any:
        return _Feed(self)

    def report(self) -> JobStatus:
        return JobStatus(id=self.id, name=self.name, state=JobState.RUNNING, reported_us=len(self.samples))

    def newest_panes(self) -> tuple[pl.DataFrame, bool]:
        at = pl.lit(self.windows, pl.Int64).cast(PANES["window_end"])
        values = {"step": pl.lit("w"), "state": pl.lit("open"), "keys": pl.lit(self.windows), "window_end": at}
        columns = [values.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in PANES.items()]
        return pl.select(columns).head(self.windows), True

    def lateness(self) -> pl.DataFrame:
        return pl.DataFrame({"behind_ms": range(self.late)}).select(
            pl.col(name).cast(dtype) if name == "behind_ms" else pl.lit(None, dtype).alias(name)
            for name, dtype in LATE.items()
        )

    def splits(self, report: JobStatus) -> pl.DataFrame:
        return pl.concat([SPLITS, pl.DataFrame({"rows": [self.splits_read]})], how="diagonal")

    def diagnosis(self, report: JobStatus) -> tuple[()]:
        return ()

    def graph(self) -> pl.DataFrame:
        return pl.DataFrame()


class _Feed:
    def __init__(self, job: FakeJob) -> None:
        self._job = job
        self._given = 0

    def read_samples(self) -> list[Sample]:
        new = self._job.samples[self._given :]
        self._given += len(new)
        return new


def read(binary: bytes, value: Any) -> Any:
    """Return a body with its columns in place, as the front end reads it."""
    if isinstance(value, dict) and set(value) == {"type", "parts"}:
        return [binary[begin:end] for begin, end in value["parts"]]
    if isinstance(value, dict):
        return {key: read(binary, one) for key, one in value.items() if key != "version"}
    return [read(binary, one) for one in value] if isinstance(value, list) else value


class Page:
    """Draws a tab as the front end does: of the lines of charts come changes only."""

    def __init__(self, tab: TimeTab) -> None:
        self.tab = tab
        self.came = 0
        """Bytes of columns in the newest frame."""
        self._lines: dict[str, dict[int, list[tuple[float, ...]]]] = {}
        self._version: int | None = None

    def drawn(self, job: FakeJob, choice: Choice, *, is_lost: bool = False) -> Any:
        """Return what the page shows of the next frame, which may get lost on the way: then all has to come again."""
        binary = Binary()
        body = self.tab.values(job.report(), choice, binary)
        self.came = len(bytes(binary))
        if is_lost:
            return None
        if body["charts"]["base"] not in {None, self._version} and body["charts"]["version"] != self._version:
            self.tab.charts.send_whole()
            return self.drawn(job, choice)
        charts = body.pop("charts")
        if charts["version"] != self._version:
            self._take(bytes(binary), charts)
        return {**read(bytes(binary), body), "charts": self._lines}

    def _take(self, binary: bytes, charts: dict[str, Any]) -> None:
        lines: dict[str, Any] = {}
        for name in charts.keys() - {"version", "base", "zones"}:
            lines[name] = {}
            for line in [*charts[name]["lines"], *charts[name]["points"]]:
                added = [memoryview(read(binary, line[axis])[0]).cast("d").tolist() for axis in "xy"]
                at, begin, end = line.get("keep", (0, 0, 0))
                kept = self._lines[name][at] if end else ("", [], [])
                assert end <= len(kept[1])
                points = (old[begin:end] + new for old, new in zip(kept[1:], added, strict=True))
                lines[name][line["place"]] = (line["label"], *points)
        self._lines, self._version = lines, charts["version"]


ACTIONS = st.sampled_from(["tick", "sample", "lost", "windows", "late", "splits", "where", "page"])


@given(actions=st.lists(ACTIONS, max_size=12))
def test_the_time_tab_draws_what_a_new_one_would(actions: list[str]) -> None:
    job, choice = FakeJob(), Choice()
    kept = Page(TimeTab(job, Course(job.history_feed())))
    for action in actions:
        if action in {"sample", "lost", "late", "splits"}:
            # What is known of rows and splits is looked at again when there are new figures.
            job.samples.append(sample(len(job.samples) + 1))
        if action == "windows":
            job.windows += 1
        elif action == "late":
            job.late += 1
        elif action == "splits":
            job.splits_read += 1
        elif action == "where":
            choice = choice.changed(of="late", where="" if choice.late.where else "1 ms")
        elif action == "page":
            choice = choice.changed(of="panes", rows=choice.panes.rows % 3 + 1)
        if action == "lost":
            kept.drawn(job, choice, is_lost=True)
        else:
            new = Page(TimeTab(job, Course(job.history_feed())))
            assert kept.drawn(job, choice) == new.drawn(job, choice)


@pytest.mark.parametrize("taken", [10, MOST_POINTS - 5, 2 * MOST_POINTS - 5, KEPT_TIMES - 5, KEPT_TIMES + 50])
def test_of_a_long_history_only_new_points_travel(taken: int) -> None:
    job, choice = FakeJob(), Choice()
    job.samples = [sample(number) for number in range(1, taken + 1)]
    page = Page(TimeTab(job, Course(job.history_feed())))
    page.drawn(job, choice)
    whole, sizes = page.came, []
    for number in range(taken + 1, taken + 21):
        job.samples.append(sample(number))
        page.drawn(job, choice)
        sizes.append(page.came)
    # Each of the six lines has gained a point, or two; once there may have been too many of them.
    assert median(sizes) <= 400
    assert sum(size > 400 for size in sizes) <= 1
    assert max(sizes) <= whole + 400
    assert page.drawn(job, choice) == Page(TimeTab(job, Course(job.history_feed()))).drawn(job, choice)


def test_now_and_then_all_of_it_travels() -> None:
    job, choice = FakeJob(), Choice()
    page = Page(TimeTab(job, Course(job.history_feed())))
    bases = []
    for number in range(2 * WHOLE_EVERY):
        job.samples.append(sample(number))
        bases.append(page.tab.values(job.report(), choice, Binary())["charts"]["base"])
    assert [place for place, base in enumerate(bases) if base is None] == [0, WHOLE_EVERY + 1]


def test_the_flow_tabs_charts_are_packed_once_for_each_sample() -> None:
    job = FakeJob()
    job.samples = [sample(1), sample(2)]
    reader = JobReader(job)
    choice = Choice().changed(tab="flow")
    first, second = reader.frame(choice), reader.frame(choice)
    assert second["body"]["charts"] is first["body"]["charts"]
    assert second["binary"] == first["binary"]
    job.samples.append(sample(3))
    third = reader.frame(choice)
    assert third["body"]["charts"]["base"] == first["body"]["charts"]["version"] < third["body"]["charts"]["version"]
    reader.send_charts_whole()
    fourth, new = reader.frame(choice), JobReader(job).frame(choice)
    assert read(fourth["binary"], fourth["body"]["charts"]) == read(new["binary"], new["body"]["charts"])
