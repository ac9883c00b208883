"""The log tab: restarts, refused input, what was told, and what the processes printed, all as text."""

from __future__ import annotations

import polars as pl

from streamlab.core.messages import DEAD_LETTER_SCHEMA
from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.choice import Choice
from streamlab.notebook.panel.log import LogTab
from streamlab.observe.status import Failure, JobState, JobStatus


class LogJob:
    """A job that has printed and refused something."""

    reads = 0

    def log(self, newest: int) -> str:
        return "\n".join([f"line {n}" for n in range(500)] + ["\x1b[31mred"])

    def dead_letters(self) -> pl.DataFrame:
        self.reads += 1
        return pl.DataFrame({name: ["x"] for name in DEAD_LETTER_SCHEMA.names()})


def test_everything_is_there_as_plain_text_and_read_only_when_there_is_more() -> None:
    job = LogJob()
    log = LogTab(job)
    failure = Failure(message="map: <b>boom</b>\x1b[0m", step="map", traceback="Trace\n  back")
    status = JobStatus(
        id="j",
        name="n",
        state=JobState.RUNNING,
        attempt=3,
        restarts=2,
        restored_checkpoint=7,
        last_failure=failure,
        dead_letters=1,
    )
    told = [
        {"n": 1, "at_s": 0.0, "text": "first", "error": False},
        {"n": 2, "at_s": 1.0, "text": "second", "error": True},
    ]
    for _ in range(3):
        shown = log.values(status, Choice(), Binary(), told)
    assert job.reads == 1
    assert shown["restarts"] == "Restarted 2 times; the present attempt, 3, goes on from checkpoint 7."
    assert shown["last"]["message"] == "map: <b>boom</b>␛[0m"
    assert [(text, error) for _, text, error in shown["told"]] == [("second", True), ("first", False)]
    assert shown["letters"]["left"] == 1
    assert shown["output"].endswith("␛[31mred")
    assert "line 299\n" not in shown["output"]


def test_a_job_without_trouble() -> None:
    shown = LogTab(LogJob()).values(JobStatus(id="j", name="n", state=JobState.RUNNING), Choice(), Binary(), [])
    assert (shown["restarts"], shown["last"], shown["told"]) == ("", None, [])


def test_of_long_lines_and_much_output_the_newest_is_shown() -> None:
    class Talkative(LogJob):
        def log(self, newest: int) -> str:
            return "\n".join([f"{n}: {'y' * 1_000_000}" for n in range(3)] + ["z" * 1_000] * 100)

    shown = LogTab(Talkative()).values(JobStatus(id="j", name="n", state=JobState.RUNNING), Choice(), Binary(), [])
    assert 30_000 < len(shown["output"]) <= 40_000
    assert set(shown["output"]) == {"z", "\n"}

    class OneLine(LogJob):
        def log(self, newest: int) -> str:
            return "beginning" + "y" * 1_000_000 + "end"

    shown = LogTab(OneLine()).values(JobStatus(id="j", name="n", state=JobState.RUNNING), Choice(), Binary(), [])
    assert len(shown["output"]) < 3_000
    assert shown["output"].startswith("beginning")
    assert shown["output"].endswith("end")
