"""What a panel keeps from one frame to the next never shows: a frame is what a new panel would draw."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streamlab.notebook.panel.choice import Choice
from streamlab.notebook.panel.course import Course
from streamlab.notebook.panel.reader import JobReader
from streamlab.notebook.panel.time import TimeTab
from streamlab.notebook.wire import Binary
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

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.windows = self.late = self.splits_read = 0

    def history_feed(self) -> Any:
        return _Feed(self)

    def report(self) -> JobStatus:
        return JobStatus(id=self.id, name=self.name, state=JobState.RUNNING)

    def panes(self, *, wait: bool) -> pl.DataFrame:
        at = pl.lit(self.windows, pl.Int64).cast(PANES["window_end"])
        values = {"step": pl.lit("w"), "state": pl.lit("open"), "keys": pl.lit(self.windows), "window_end": at}
        columns = [values.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in PANES.items()]
        return pl.select(columns).head(self.windows)

    def lateness(self) -> pl.DataFrame:
        return pl.DataFrame({"behind_ms": range(self.late)}).select(
            pl.col(name).cast(dtype) if name == "behind_ms" else pl.lit(None, dtype).alias(name)
            for name, dtype in LATE.items()
        )

    def splits(self) -> pl.DataFrame:
        return pl.concat([SPLITS, pl.DataFrame({"rows": [self.splits_read]})], how="diagonal")

    def diagnosis(self) -> tuple[()]:
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


def drawn(tab: TimeTab, job: FakeJob, choice: Choice) -> Any:
    binary = Binary()
    body = tab.values(job.report(), choice, binary)
    return read(bytes(binary), body)


ACTIONS = st.sampled_from(["tick", "sample", "windows", "late", "splits", "where", "page"])


@given(actions=st.lists(ACTIONS, max_size=12))
def test_the_time_tab_draws_what_a_new_one_would(actions: list[str]) -> None:
    job, choice = FakeJob(), Choice()
    kept = TimeTab(job, Course(job.history_feed()))
    for action in actions:
        if action in {"sample", "late", "splits"}:
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
        assert drawn(kept, job, choice) == drawn(TimeTab(job, Course(job.history_feed())), job, choice)


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
    assert third["body"]["charts"]["version"] > first["body"]["charts"]["version"]
    new = JobReader(job).frame(choice)
    assert read(third["binary"], third["body"]["charts"]) == read(new["binary"], new["body"]["charts"])
