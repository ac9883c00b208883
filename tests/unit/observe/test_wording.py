"""A job's figures in words."""

from __future__ import annotations

import pytest

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.observe.clock import clock
from streamlab.observe.status import Failure, JobState, JobStatus
from streamlab.observe.wording import (
    STATE_MARKS,
    awaited,
    duration_ms,
    figures,
    last_failure,
    mean_rows_per_s,
    progress,
    rate,
    watermark,
)


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


def test_of_files_it_is_told_how_much_of_them_has_been_read() -> None:
    job = status(rows_in=1_500, bytes_read=12_300_000, bytes_total=45_600_000)
    assert (progress(job), shown(job)["input read"]) == (12.3 / 45.6, "26 % of 45.6 MB")
    ended = status(state=JobState.STOPPED, bytes_read=12_300_000, bytes_total=45_600_000)
    assert shown(ended)["input read"] == "26 % of 45.6 MB"
    for other in (
        status(state=JobState.FINISHED, bytes_read=9, bytes_total=9),
        status(rows_in=1, rows_total=9, bytes_read=9, bytes_total=90),
        status(rows_in=1, bytes_read=9),
    ):
        assert "input read" not in shown(other)


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
        (status(rows_in=1, rows_total=4, bytes_read=3, bytes_total=10), 0.3),
        (status(bytes_read=0, bytes_total=10), 0.0),
        (status(bytes_read=10, bytes_total=10), 1.0),
        (status(bytes_read=3), None),
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
        (-1, "1969-12-31 23:59:59 UTC"),
        (0, "1970-01-01 00:00:00 UTC"),
    ],
)
def test_watermarks(us: int | None, text: str) -> None:
    assert watermark(us) == text


LOST = Failure(message="map: needs worker process 0 to stay alive, got SIGKILL.\n  → job.log()", kind="WorkerLost")


def test_a_job_that_was_never_restarted_shows_nothing_of_that() -> None:
    assert not {"restarts", "restarts after"} & set(shown(status()))


def test_a_job_that_restarts_says_why_in_one_line_and_keeps_its_figures() -> None:
    job = status(state=JobState.RESTARTING, restarts=2, last_failure=LOST, rows_in=1_500)
    assert shown(job)["restarts"] == "2"
    assert shown(job)["restarts after"] == "map: needs worker process 0 to stay alive, got SIGKILL."
    assert shown(job)["rows in"] == "1,500"
    assert {figure.label for figure in figures(job) if figure.alarming} == {"restarts", "restarts after"}


@pytest.mark.parametrize(("state", "alarming"), [(JobState.RUNNING, True), (JobState.FINISHED, False)])
def test_restarts_are_counted_afterwards_and_their_reason_can_be_asked_for(state: JobState, alarming: bool) -> None:
    (figure,) = (f for f in figures(status(state=state, restarts=1, last_failure=LOST)) if f.label == "restarts")
    assert "got SIGKILL." in figure.meaning
    assert figure.alarming == alarming
    assert "restarts after" not in shown(status(state=state, restarts=1, last_failure=LOST))


@pytest.mark.parametrize(
    ("message", "line"),
    [("", "StepFailed"), ("\n boom \nmore", "boom"), ("x" * 300, "x" * 99 + "…"), ("x" * 100, "x" * 100)],
)
def test_a_failure_in_one_line(message: str, line: str) -> None:
    assert last_failure(status(last_failure=Failure(message=message))) == line
    assert last_failure(status()) == ""


def test_a_coordinator_that_was_killed_leaves_no_failure_to_tell() -> None:
    job = status(state=JobState.RESTARTING, restarts=1)
    assert shown(job)["restarts"] == "1"
    assert "restarts after" not in shown(job)


def test_while_nothing_was_read_it_is_said_what_is_waited_for() -> None:
    starting = status(state=JobState.STARTING, parallelism=2, submitted_us=0, reported_us=1)
    assert awaited(starting, 200_000) == "2 workers, 200 ms: waiting for the coordinator"
    missing = status(state=JobState.STARTING, submitted_us=0, awaits="worker processes, 0 of 1 are there")
    assert awaited(missing, 1_300_000) == "1 worker, 1.3 s: waiting for worker processes, 0 of 1 are there"
    running = status(state=JobState.RUNNING, submitted_us=0)
    assert awaited(running, 2_000_000) == "1 worker, 2.0 s: waiting for the first rows"
    assert awaited(status(state=JobState.RUNNING, rows_in=1), 0) == ""
    assert awaited(status(state=JobState.FINISHED), 0) == ""


def test_an_ended_job_keeps_its_average_its_start_and_its_end() -> None:
    begun = 1_357_016_400_000_000
    ended = status(state=JobState.STOPPED, rows_in=9_000, started_us=begun, ended_us=begun + 3_000_000)
    known = {figure.label: figure.value for figure in figures(ended)}
    assert (known["throughput"], known["took"]) == ("3,000 rows/s", "3.0 s")
    assert (known["started"], known["ended"]) == (clock(begun), clock(begun + 3_000_000))
    assert (rate(ended), duration_ms(status(state=JobState.RUNNING))) == ("3,000", None)
