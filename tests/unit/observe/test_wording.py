"""A job's figures in words."""

from __future__ import annotations

import pytest

from streamlab.core.time import MAX_TIME_US, MIN_TIME_US
from streamlab.observe.status import JobState, JobStatus
from streamlab.observe.wording import STATE_MARKS, figures, mean_rows_per_s, progress, watermark


def status(**changes: object) -> JobStatus:
    return JobStatus(**{"id": "j-1", "name": "n", "state": JobState.RUNNING, **changes})


def shown(job: JobStatus) -> dict[str, str]:
    return {figure.label: figure.value for figure in figures(job)}


def test_every_state_has_a_sign() -> None:
    assert set(STATE_MARKS) == set(JobState)


def test_a_running_job_shows_the_rate_of_now() -> None:
    job = status(rows_in=1_500, rows_total=9_000, rows_in_per_s=45_678.0)
    assert shown(job)["rows in"] == "1,500 of 9,000"
    assert shown(job)["throughput"] == "45.7k rows/s"


def test_an_ended_job_shows_the_rate_of_the_whole_run() -> None:
    job = status(state=JobState.FINISHED, rows_in=9_000, rows_total=9_000, started_us=1, ended_us=3_000_001)
    assert shown(job)["throughput"] == "3,000 rows/s"
    assert shown(job)["rows in"] == "9,000"
    assert mean_rows_per_s(job) == pytest.approx(3_000)


def test_a_job_that_never_read_a_row_has_no_rate() -> None:
    job = status(state=JobState.FAILED, ended_us=5)
    assert shown(job)["throughput"] == "—"


def test_late_rows_and_dead_letters_deserve_a_look() -> None:
    alarming = {figure.label for figure in figures(status(late_rows=1, dead_letters=1)) if figure.alarming}
    assert alarming == {"late rows", "dead letters"}
    assert not any(figure.alarming for figure in figures(status()))


@pytest.mark.parametrize(
    ("job", "share"),
    [
        (status(), None),
        (status(rows_total=0), None),
        (status(rows_in=1, rows_total=4), 0.25),
        (status(rows_in=9, rows_total=4), 1.0),
        (status(state=JobState.FINISHED), 1.0),
        (status(state=JobState.CANCELLED, rows_in=1, rows_total=4), 0.25),
    ],
)
def test_progress(job: JobStatus, share: float | None) -> None:
    assert progress(job) == share


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (None, "—"),
        (MIN_TIME_US, "—"),
        (MAX_TIME_US, "end of input"),
        (-1, "1969-12-31 23:59:59"),
        (0, "1970-01-01 00:00:00"),
    ],
)
def test_watermarks(us: int | None, text: str) -> None:
    assert watermark(us) == text
