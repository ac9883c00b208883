"""What a panel's buttons do, with a job that only notes what it is asked for."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from streamlab.core.errors import JobError, OptionError
from streamlab.job.history.comparing import differing
from streamlab.notebook.view.actions import carry_out, compare, rows_a_batch
from streamlab.notebook.view.commands import Commands
from streamlab.observe.status import JobState


class NotingJob:
    """Notes calls."""

    name = "noting"

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda **arguments: self.calls.append((name, arguments))

    def results(self) -> pl.DataFrame:
        return pl.DataFrame({"n": [1, 2], "l": [[1], None]})


@pytest.mark.parametrize("command", ["pause", "resume", "stop", "cancel"])
def test_a_control_asks_the_job_and_does_not_wait_for_its_end(command: str) -> None:
    job = NotingJob()
    carry_out(job, command, {})
    assert job.calls == [(command, {"timeout": 0} if command in {"stop", "cancel"} else {})]


def test_an_export_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        for format_ in ("parquet", "csv"):
            carry_out(NotingJob(), "export", {"format": format_})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "noting-results-2.csv",
        "noting-results-2.parquet",
        "noting-results.csv",
        "noting-results.parquet",
    ]
    assert pl.read_parquet(tmp_path / "noting-results.parquet").equals(NotingJob().results())
    assert pl.read_csv(tmp_path / "noting-results.csv").columns == ["n", "l"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,000", 1000),
        ("1 000", 1000),
        ("1_000", 1000),
        ("12,345,678", 12_345_678),
        ("7", 7),
        ("", None),
        ("All", None),
    ],
)
def test_rows_a_batch_are_read_as_people_write_them(text: str, rows: int | None) -> None:
    assert rows_a_batch(text) == rows


@pytest.mark.parametrize("text", ["many", "0", "-3", "1.5", "1.000", "1,00", "1e3", "1k", "\u0661"])
def test_what_is_no_number_of_rows_is_refused_with_a_sentence(text: str) -> None:
    job = NotingJob()
    for command in ("step", "step_watermark"):
        with pytest.raises(OptionError, match=r"rows a batch.*a whole number"):
            carry_out(job, command, {"rows": text})
    assert job.calls == []


class Ended:
    """A job with a table."""

    def __init__(self, name: str, *rows: int, state: JobState = JobState.FINISHED) -> None:
        self.name, self.rows, self.status = name, pl.DataFrame({"n": rows}), state
        self.checkpoint = SimpleNamespace(id=9)

    def results(self) -> pl.DataFrame:
        return self.rows

    def compare(self, other: Ended) -> pl.DataFrame:
        return differing(self.rows, other.rows)


def test_a_replay_is_compared_with_its_job_where_it_ended() -> None:
    replay, running = Ended("again", 1, 2), Ended("planes", 1, 2, 3, state=JobState.RUNNING)
    assert compare(replay, running, Ended("planes", 1, 2)) == "The same rows as in planes at checkpoint 9."
    assert compare(replay, Ended("planes", 1, 3), None) == "1 rows are only here, 1 only in planes."
    with pytest.raises(JobError, match=r"same position.*planes, which is running"):
        compare(replay, running, None)
    with pytest.raises(JobError, match=r"same position.*again, which is running"):
        compare(Ended("again", 1, state=JobState.RUNNING), running, Ended("planes", 1))


@pytest.mark.parametrize(("command", "arguments"), [("explode", {}), ("export", {"format": "exe"})])
def test_a_command_that_there_is_not(command: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        carry_out(NotingJob(), command, arguments)


def test_commands_run_in_order_beside_and_their_errors_come_back() -> None:
    commands, told, done = Commands(), [], threading.Event()

    def tell(text: str, error: Exception | None) -> None:
        told.append((text, type(error).__name__, threading.current_thread() is threading.main_thread()))
        if len(told) == 3:
            done.set()

    commands.put(lambda: "one", tell)
    commands.put(lambda: str(1 // 0), tell)
    commands.put(lambda: "three", tell)
    assert done.wait(60)
    assert told == [("one", "NoneType", False), ("", "ZeroDivisionError", False), ("three", "NoneType", False)]
