"""The ``streamlab`` command: what it prints, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import streamlab as sl
from streamlab.cli.app import app
from streamlab.observe.status import JobState

STREAM = """
import polars as pl
import streamlab as sl
stream = sl.from_frame(pl.DataFrame({"k": ["a", "b", "a"]})).group_by("k").agg(pl.len())
"""


@pytest.fixture(autouse=True)
def own_interpreter_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what running a script changes: arguments, search path, modules."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("__main__", "__streamlab_script__"):
        if name in sys.modules:
            monkeypatch.setitem(sys.modules, name, sys.modules[name])
        else:
            monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def endless() -> Iterator[sl.Job]:
    stream = sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=100)
    job = stream.start("endless")
    yield job
    job.cancel()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def script(folder: Path, text: str) -> str:
    path = folder / "query.py"
    path.write_text(text)
    return str(path)


def test_without_a_command_the_help_is_shown() -> None:
    result = call()
    assert result.exit_code == 2
    for command in (
        "demo",
        "run",
        "jobs",
        "attach",
        "stop",
        "cancel",
        "pause",
        "resume",
        "pace",
        "logs",
        "explain",
        "checkpoints",
        "savepoint",
        "rescale",
        "replay",
        "gc",
        "metrics",
    ):
        assert command in result.output
        assert "Example" in call(command, "--help").output


def test_run_starts_the_stream_that_a_script_leaves(tmp_path: Path) -> None:
    result = call("run", script(tmp_path, STREAM))
    assert result.exit_code == 0, result.output
    assert "finished" in result.output
    assert sorted(sl.attach("query").results().rows()) == [("a", 2), ("b", 1)]


def test_run_waits_for_jobs_that_the_script_starts_and_passes_arguments_on(tmp_path: Path) -> None:
    text = STREAM + "import sys\nif __name__ == '__main__':\n    job = stream.start(sys.argv[1])\n"
    assert call("run", script(tmp_path, text), "given-name").exit_code == 0
    assert sl.attach("given-name").status is JobState.FINISHED


def test_a_job_that_fails_is_exit_code_1(tmp_path: Path) -> None:
    text = STREAM + "def f(frame):\n    raise ValueError('boom')\nstream = stream.map_batches(f)\n"
    text = text.replace('.group_by("k").agg(pl.len())', "")
    result = call("run", script(tmp_path, text))
    assert result.exit_code == 1
    assert "failed" in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "got none"),
        (STREAM.replace("stream =", "one =") + "two = one\n", "one, two"),
    ],
)
def test_a_script_without_one_stream_is_exit_code_2(tmp_path: Path, text: str, said: str) -> None:
    result = call("run", script(tmp_path, text))
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("import math\nmath.sqrt('x')\n", "TypeError"),
        ("x = 1\nif x\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("command", ["run", "explain"])
def test_what_a_script_raises_is_shown_as_python_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, text: str, last: str
) -> None:
    path = script(tmp_path, text)
    result = call(command, path)
    said = result.output + "".join(capfd.readouterr())
    assert result.exit_code == 1
    assert f'File "{path}", line ' in said
    assert last in said.splitlines()[-1]
    assert "streamlab" not in said.replace(path, "")


def test_a_stream_can_be_chosen(tmp_path: Path) -> None:
    text = STREAM.replace("stream =", "one =") + "two = one\n"
    assert call("explain", script(tmp_path, text), "--stream", "two").exit_code == 0


def test_explain_shows_the_plan_and_starts_nothing(tmp_path: Path) -> None:
    before = len(sl.jobs())
    text = STREAM + "if __name__ == '__main__':\n    stream.start()\n"
    result = call("explain", script(tmp_path, text))
    assert result.exit_code == 0
    assert "count by k" in result.output
    assert len(sl.jobs()) == before


def test_a_script_that_is_not_there_is_exit_code_2() -> None:
    assert call("run", "nowhere.py").exit_code == 2


def test_an_option_that_there_is_not_is_exit_code_2() -> None:
    assert call("jobs", "--nonsense").exit_code == 2


@pytest.mark.parametrize("command", ["attach", "stop", "cancel", "logs"])
def test_a_job_that_is_not_there_is_exit_code_3(command: str) -> None:
    result = call(command, "nowhere")
    assert result.exit_code == 3
    assert "nowhere" in result.output


def test_jobs_lists_for_people_and_for_scripts(endless: sl.Job) -> None:
    assert "endless" in call("jobs").output
    listed = [json.loads(line) for line in call("jobs", "--json").output.splitlines()]
    assert [job["id"] for job in listed if job["name"] == "endless" and job["state"] != "cancelled"] == [endless.id]


def test_a_text_chooses_among_the_jobs(endless: sl.Job) -> None:
    assert endless.id in call("jobs", "ENDLESS").output
    assert call("jobs", "no such text").output == "No jobs with 'no such text' in their name, state or id.\n"
    listed = [json.loads(line) for line in call("jobs", endless.id, "--json").output.splitlines()]
    assert [job["id"] for job in listed] == [endless.id]
    assert call("jobs", "endless", "--all").output.count("\n") >= call("jobs", "endless").output.count("\n")


def test_stop_and_then_stop_again(endless: sl.Job) -> None:
    first = call("stop", "endless")
    assert first.exit_code == 0
    assert "stopped" in first.output
    assert endless.status is JobState.STOPPED
    again = call("stop", "endless")
    assert again.exit_code == 0
    assert "ended already" in again.output


def test_pause_resume_and_another_pace(endless: sl.Job) -> None:
    assert call("pause", "endless").exit_code == 0
    assert endless.report().wish == "pause"
    assert call("resume", "endless").exit_code == 0
    assert endless.report().wish == "run"
    assert call("pace", "endless").output == "100 rows/s\n"
    assert call("pace", "endless", "realtime").output == "realtime\n"
    wrong = call("pace", "endless", "fast")
    assert wrong.exit_code == 2
    assert "'60x'" in wrong.stderr


def test_cancel(endless: sl.Job) -> None:
    assert call("cancel", endless.id).exit_code == 0
    assert endless.status is JobState.CANCELLED


def test_attach_to_a_job_that_has_ended_shows_it(endless: sl.Job) -> None:
    endless.cancel()
    result = call("attach", endless.id)
    assert result.exit_code == 0
    assert "cancelled" in result.output


def test_logs_show_what_functions_print(tmp_path: Path) -> None:
    text = STREAM + "def f(frame):\n    print('seen by the worker')\n    return frame\n"
    text = text.replace('.group_by("k").agg(pl.len())', "") + "stream = stream.map_batches(f)\n"
    assert call("run", script(tmp_path, text)).exit_code == 0
    assert "seen by the worker" in call("logs", "query").output


def test_python_m_is_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "streamlab", "--help"], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert "Example" in run.stdout


def test_checkpoints_savepoints_and_another_parallelism(endless: sl.Job, tmp_path: Path) -> None:
    saved = call("savepoint", "endless", str(tmp_path / "saved"))
    assert saved.exit_code == 0, saved.output
    assert "Savepoint of checkpoint 1" in saved.output
    assert call("savepoint", "endless", str(tmp_path / "saved")).exit_code == 2

    assert "complete" in call("checkpoints", "endless").output
    (listed,) = [json.loads(line) for line in call("checkpoints", "endless", "--json").output.splitlines()]
    assert (listed["id"], listed["trigger"], listed["state"]) == (1, "request", "complete")

    more = endless.checkpoint().id
    replayed = call("replay", "endless", "--checkpoint", 1, "--until", more)
    assert replayed.exit_code == 0, replayed.output
    assert f"Results are those of job endless at checkpoint {more}." in replayed.output

    assert "runs with 2" in call("rescale", "endless", "2").output
    assert endless.report().parallelism == 2

    stopped = call("stop", "endless", "--savepoint", str(tmp_path / "last"))
    assert stopped.exit_code == 0, stopped.output
    assert (tmp_path / "last" / "checkpoints").is_dir()


def test_a_replay_to_a_time() -> None:
    def numbers(start: int, n: int) -> pl.DataFrame:
        return pl.DataFrame({"t": pl.int_range(start, start + n, eager=True).cast(pl.Datetime("ms"))})

    ticks = sl.generate(numbers, rows_per_second=100, event_time="t", watermark="0s")
    job = ticks.group_by_dynamic("t", every="10ms").agg(pl.len()).start("ticks", paused=True)
    try:
        job.step(rows=10)
        begin = job.checkpoint().id
        while job.results().height < 8:
            job.step(rows=50)
        replayed = call("replay", "ticks", "--checkpoint", begin, "--until", "1970-01-01 00:00:00.030")
        assert replayed.exit_code == 0, replayed.output
        assert "all of them are in job ticks, too." in " ".join(replayed.output.split())
        assert "Results up to 1970-01-01 00:00:00.030" in " ".join(replayed.output.split())
        wrong = call("replay", "ticks", "--checkpoint", begin, "--until", "noon")
        assert wrong.exit_code != 0
        assert "a time such as" in wrong.output
    finally:
        job.cancel()


def test_metrics_prints_the_figures_of_a_job_or_of_all_that_run(endless: sl.Job) -> None:
    one, every = call("metrics", "endless", "--once"), call("metrics", "--once")
    assert one.exit_code == every.exit_code == 0
    for text in (one.output, every.output):
        assert f'streamlab_job_rows_in_total{{job="endless",id="{endless.id}"}}' in text
    assert call("metrics", "nobody", "--once").exit_code == 3


def test_the_version_is_shown() -> None:
    shown = call("--version")
    assert (shown.exit_code, shown.output) == (0, f"streamlab {sl.__version__}\n")


def test_what_goes_into_a_pipe_is_not_cut() -> None:
    name = "n" * 100
    job = sl.from_frame(pl.DataFrame({"n": [1]})).start(name)
    job.wait()
    listed = call("jobs").output
    assert name in listed
    assert job.id in listed
    assert "finished" in listed
    assert "…" not in listed


def test_lines_end_with_why_a_job_has_failed(tmp_path: Path) -> None:
    text = STREAM + "def f(frame):\n    raise ValueError('seen by the worker')\n"
    text = text.replace('.group_by("k").agg(pl.len())', "") + "stream = stream.map_batches(f)\n"
    ran = call("run", script(tmp_path, text))
    assert ran.exit_code == 1
    assert "map_batches f: ValueError: seen by the worker" in ran.output


def test_a_demo_that_cannot_be_says_so_before_it_tells_of_itself() -> None:
    told = call("demo", "--delay", "banana")
    assert told.exit_code == 2
    assert "got 'banana'" in told.output
    assert "banana behind" not in told.output
