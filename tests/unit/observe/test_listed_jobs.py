"""The list of jobs: one line a name, the newest first, with what one wants to know of its runs."""

from __future__ import annotations

from streamlab.observe.job_list import COLUMNS, job_lines
from streamlab.observe.status import Failure, JobState, JobStatus

S = 1_000_000
START = 1_767_225_600 * S


def run(number: int, name: str = "hourly", state: JobState = JobState.FINISHED, **known: object) -> JobStatus:
    return JobStatus(id=f"{name}-{number}", name=name, state=state, **known)


RUNS = [
    run(3, state=JobState.RUNNING, submitted_us=START, reported_us=START + 90 * S, rows_in=1_234, late_rows=5),
    run(1, "daily", JobState.FAILED, failure=Failure(message="map: ValueError: no\n  → look"), restarts=1),
    run(2, dead_letters=1),
    run(1),
]


def shown(*args: str, **given: bool) -> list[dict[str, str]]:
    return [
        dict(zip([name for name, _ in COLUMNS], line.cells, strict=True)) for line in job_lines(RUNS, *args, **given)
    ]


def test_a_name_has_one_line_with_the_figures_of_its_newest_run() -> None:
    hourly, daily = shown()
    assert [hourly[name] for name in ("name", "state", "duration", "rows in", "late rows", "errors", "runs")] == [
        *("hourly", "● running", "1 min 30 s", "1,234", "5", "", "3")
    ]
    assert hourly["started"]
    assert (daily["state"], daily["errors"], daily["runs"]) == ("✗ failed", "map: ValueError: no, restarted once", "1")


def test_a_text_chooses_by_name_state_and_id() -> None:
    assert [line["id"] for line in shown("HOUR")] == ["hourly-3"]
    assert [line["id"] for line in shown("failed")] == ["daily-1"]
    assert [line["id"] for line in shown("hourly-2")] == ["hourly-2"]
    assert shown("nothing") == []


def test_runs_may_have_lines_of_their_own() -> None:
    assert [line["id"] for line in shown("hourly", each_run=True)] == ["hourly-3", "hourly-2", "hourly-1"]
    assert [line["errors"] for line in shown("hourly", each_run=True)] == ["", "1 dead letter", ""]
