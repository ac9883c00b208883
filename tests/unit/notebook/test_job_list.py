"""The list of jobs: the newest ones, all that run, and how many more there are."""

from __future__ import annotations

import pytest

from streamlab.notebook.view.job_list import JobList
from streamlab.observe.status import JobState, JobStatus


class Named:
    """Stands for a job."""

    def __init__(self, number: int, state: JobState) -> None:
        self._status = JobStatus(id=f"j-{number}", name=f"<job>{number}", state=state)

    def report(self) -> JobStatus:
        return self._status


def names(jobs: JobList) -> list[str]:
    return [line.split()[0] for line in repr(jobs).splitlines()[1:] if line.startswith("<job>")]


@pytest.mark.parametrize("number", [1, 10])
def test_a_few_jobs_are_all_shown_the_newest_first(number: int) -> None:
    jobs = JobList([Named(at, JobState.FINISHED) for at in range(number)])
    assert names(jobs) == [f"<job>{at}" for at in reversed(range(number))]
    assert "older" not in repr(jobs) + jobs._repr_html_()


def test_of_many_jobs_the_old_ones_are_counted_unless_they_run() -> None:
    states = [JobState.FINISHED, JobState.RUNNING, JobState.FAILED, JobState.PAUSED, *[JobState.CANCELLED] * 10]
    jobs = JobList([Named(at, state) for at, state in enumerate(states)])
    assert names(jobs) == [f"<job>{at}" for at in [*reversed(range(4, 14)), 3, 1]]
    assert repr(jobs).endswith("\nand 2 older that have ended: sl.jobs()")
    assert "and 2 older that have ended" in jobs._repr_html_()
    assert "<job>" not in jobs._repr_html_()


def test_no_jobs_are_no_table() -> None:
    assert repr(JobList([])).startswith("No jobs.")
