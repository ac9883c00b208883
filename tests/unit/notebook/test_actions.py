"""What a panel's buttons do, with a job that only notes what it is asked for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streamlab.core.errors import OptionError
from streamlab.notebook.actions import carry_out
from streamlab.notebook.commands import Commands


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
