"""The list of jobs as HTML: the newest first, nothing in it that a job's name could smuggle in."""

from __future__ import annotations

import pytest

from streamlab.dashboard import jobs_page
from streamlab.dashboard.jobs_page import jobs_table
from streamlab.observe.status import JobState, JobStatus


class Reported:
    def __init__(self, name: str, state: JobState) -> None:
        self._status = JobStatus(id=f"id of {name}", name=name, state=state, rows_in=12_345, rows_in_per_s=10.0)

    def report(self) -> JobStatus:
        return self._status


def test_names_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Reported("<img onerror=alert(1)>", JobState.FINISHED), Reported("newer", JobState.RUNNING)]
    monkeypatch.setattr(jobs_page, "jobs", lambda: jobs)
    html = jobs_table()
    assert "<img" not in html
    assert "&lt;img onerror=alert(1)&gt;" in html
    assert 'href="job?name=id%20of%20%3Cimg%20onerror%3Dalert%281%29%3E"' in html
    assert html.index("newer") < html.index("&lt;img")
    assert "● running" in html
    assert "12,345" in html


def test_no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_page, "jobs", list)
    assert "No jobs" in jobs_table()


def test_runs_of_a_name_are_links_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        Reported("hourly", JobState.FAILED),
        Reported("other", JobState.FINISHED),
        Reported("hourly", JobState.RUNNING),
    ]
    monkeypatch.setattr(jobs_page, "jobs", lambda: jobs)
    html = jobs_table("hourly")
    assert html.count("<tr>") == 2
    assert html.count('href="job?') == 2
    assert "other" not in html
    assert "No jobs with “&lt;b&gt;”" in jobs_table("<b>")
