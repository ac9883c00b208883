"""What a start costs does not grow with the jobs that have ended."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from ratio import MOST, processor_s

import streamlab as sl
from streamlab.job import local_runner
from streamlab.runtime.client.client import check_is_free, find
from streamlab.runtime.job_folder.home import home

FEW, MANY = 10, 1_000
_TELLING = ("meta.json", "status.json", "processes.json")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> sl.Job:
    """Return a job that has ended, whose folder is then copied: to run so many would take minutes."""
    monkeypatch.setattr(local_runner, "sweep_later", lambda: None)  # old ended jobs are to stay
    job = sl.from_frame(pl.DataFrame({"n": [1]})).start("ended", parallelism=1)
    job.wait(60)
    check_is_free("other")
    return job


def copy_until(job: sl.Job, number: int) -> None:
    """Copy what tells of a job, and not its results and logs, which nobody looks at here."""
    first: Path = home() / "jobs" / job.id
    for at in range(len(list(first.parent.iterdir())), number):
        copy = first.with_name(f"j-20010101-{at:06x}")
        copy.mkdir()
        for file in (first / name for name in _TELLING):
            (copy / file.name).write_text(file.read_text().replace(job.id, copy.name))


def test_names_are_checked_and_jobs_found_without_a_look_at_ended_ones(ended: sl.Job) -> None:
    def start() -> None:
        # Short, so that the clock's own steps do not count.
        for _ in range(20):
            check_is_free("new")
            find(ended.id)

    copy_until(ended, FEW)
    few = processor_s(start, repeats=7)
    copy_until(ended, MANY)
    many = processor_s(start, repeats=7)
    assert many < MOST * few, f"{many / few:.1f} times as long with {MANY} ended jobs as with {FEW}"
    assert len(sl.jobs()) == MANY
