"""The %%stream and %stream magics in an IPython shell, with real jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from IPython.utils.capture import CapturedIO, capture_output

import streamlab as sl
from streamlab.notebook import load_ipython_extension, unload_ipython_extension
from streamlab.notebook.magics.errors import StreamError
from streamlab.observe.status import JobState

BOUNDED = 'sl.from_frame(pl.DataFrame({"k": ["a", "b", "a"], "n": [1, 2, 3]}))'
ENDLESS = 'sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=100)'


@pytest.fixture
def magic(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """Give a shell with the extension loaded; its jobs are over after the test."""
    monkeypatch.setenv("STREAMLAB_RENDER", "auto")
    load_ipython_extension(shell)
    run(shell, "import polars as pl\nimport streamlab as sl")
    yield shell
    for job in sl.jobs():
        job.cancel()
    unload_ipython_extension(shell)


def run(shell: InteractiveShell, cell: str) -> tuple[ExecutionResult, CapturedIO]:
    with capture_output() as captured:
        result = shell.run_cell(cell)
    return result, captured


def error_of(shell: InteractiveShell, cell: str) -> StreamError:
    result, _ = run(shell, cell)
    assert isinstance(result.error_in_exec, StreamError)
    return result.error_in_exec


def test_the_job_is_bound_to_its_name_and_gives_results(magic: InteractiveShell) -> None:
    result, _ = run(magic, f"%%stream counts --wait\n{BOUNDED}.group_by('k').agg(pl.len())")
    assert result.success
    assert result.result is None
    job = magic.user_ns["counts"]
    assert job.name == "counts"
    assert job.status is JobState.FINISHED
    assert sorted(job.results().rows()) == [("a", 2), ("b", 1)]


def test_the_cell_returns_while_the_job_runs_and_running_it_again_replaces_the_job(magic: InteractiveShell) -> None:
    cell = f"%%stream again\n{ENDLESS}"
    run(magic, cell)
    first = magic.user_ns["again"]
    assert not first.status.is_final
    _, captured = run(magic, cell)
    second = magic.user_ns["again"]
    assert f"Replaced job again ({first.id})" in captured.stdout
    assert first.status is JobState.CANCELLED
    assert not second.status.is_final


def test_a_cell_that_is_wrong_leaves_the_running_job_alone(magic: InteractiveShell) -> None:
    run(magic, f"%%stream kept\n{ENDLESS}")
    error_of(magic, "%%stream kept\nsl.from_frame(pl.DataFrame({'a': [1]})).filter(pl.col('b') > 0)")
    assert not magic.user_ns["kept"].status.is_final


def test_an_error_of_the_query_points_at_its_line(magic: InteractiveShell) -> None:
    error = error_of(magic, f"%%stream wrong\nsource = {BOUNDED}\n\nsource.select('missing')")
    assert (error.line, error.source, error.kind) == (4, "source.select('missing')", "PlanError")
    assert "missing" in str(error)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (f"%%stream\n{BOUNDED}", "needs a name"),
        (f"%%stream 1st\n{BOUNDED}", "'1st'"),
        ("%%stream x\n1 + 1", "got int"),
        (f"%%stream x --parallelism many\n{BOUNDED}", "--parallelism"),
        (f"%%stream x --nonsense\n{BOUNDED}", "--nonsense"),
        (f"%%stream x --pace '60\n{BOUNDED}", "quotation"),
        (f"%%stream x --pace 60x\n{BOUNDED}", "event time"),
        (f"%%stream x --parallelism 0\n{BOUNDED}", "parallelism"),
    ],
)
def test_wrong_use_is_an_error_and_not_a_line_of_text(magic: InteractiveShell, cell: str, text: str) -> None:
    assert text in str(error_of(magic, cell))


def test_explain_shows_the_plan_and_starts_nothing(magic: InteractiveShell) -> None:
    _, captured = run(magic, f"%%stream planned --explain\n{BOUNDED}.filter(pl.col('n') > 1)")
    assert "filter" in captured.stdout
    assert "planned" not in magic.user_ns


def test_waiting_for_a_job_that_fails_raises(magic: InteractiveShell) -> None:
    cell = f"%%stream broken --wait\ndef f(frame):\n    raise ValueError('boom')\n{BOUNDED}.map_batches(f)"
    error = error_of(magic, cell)
    assert "boom" in str(error)
    assert magic.user_ns["broken"].status is JobState.FAILED


def test_stop_and_list(magic: InteractiveShell) -> None:
    run(magic, f"%%stream ending\n{ENDLESS}")
    _, captured = run(magic, "%stream stop ending")
    assert "stopped" in captured.stdout
    result, _ = run(magic, "%stream")
    assert "ending" in repr(result.result)
    assert "■ stopped" in repr(result.result)
    assert "<td" in result.result._repr_html_()


def test_a_job_that_is_not_there(magic: InteractiveShell) -> None:
    assert "nowhere" in str(error_of(magic, "%stream stop nowhere"))
    assert "needs one job" in str(error_of(magic, "%stream stop"))


def test_help_shows_the_options(magic: InteractiveShell) -> None:
    for cell in ("%stream --help", f"%%stream --help\n{BOUNDED}", "%%stream --help", "%%stream -h\n\n"):
        _, captured = run(magic, cell)
        assert "--parallelism" in captured.stdout


def test_a_render_mode_that_there_is_not(magic: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLAB_RENDER", "paper")
    result, _ = run(magic, f"%%stream x\n{BOUNDED}")
    assert isinstance(result.error_in_exec, sl.OptionError)


def test_a_terminal_shows_one_look(magic: InteractiveShell) -> None:
    _, captured = run(magic, f"%%stream seen\n{BOUNDED}")
    (output,) = captured.outputs
    assert set(output.data) == {"text/plain"}
    assert "seen" in output.data["text/plain"]


def test_loading_twice_and_unloading(shell: InteractiveShell) -> None:
    load_ipython_extension(shell)
    load_ipython_extension(shell)
    assert shell.find_cell_magic("stream")
    unload_ipython_extension(shell)
    assert shell.find_cell_magic("stream") is None


def completions_of(shell: InteractiveShell, text: str) -> set[str]:
    """Return what a front end is given, as whole lines."""
    with provisionalcompleter():
        found = list(shell.Completer.completions(text, len(text)))
    return {one.text for one in found}


def test_the_list_is_chosen_by_a_text(magic: InteractiveShell) -> None:
    run(magic, f"%%stream seldom --wait\n{BOUNDED}")
    result, _ = run(magic, "%stream list SELDOM")
    assert repr(result.result).splitlines()[1].startswith("seldom  ✓ finished")
    result, _ = run(magic, "%stream list nothing of that name")
    assert repr(result.result) == "No jobs with 'nothing of that name' in their name, state or id."


def test_options_jobs_and_columns_are_completed(magic: InteractiveShell) -> None:
    run(magic, f"ticks = {ENDLESS}\nnumbers = {BOUNDED}")
    run(magic, "%%stream ticking\nticks")
    assert "--parallelism" in completions_of(magic, "%%stream x --par")
    assert "ticking" in completions_of(magic, "%stream stop tic")
    assert {"k", "n"} <= completions_of(magic, '%%stream y\nnumbers.group_by("')
    assert "n" in completions_of(magic, '%%stream y\nnumbers.filter(pl.col("n')


def test_values_of_options_are_completed(magic: InteractiveShell) -> None:
    assert {"append", "changelog", "update"} <= completions_of(magic, "%%stream x --mode ")
    assert completions_of(magic, "%%stream x --mode ch") == {"changelog"}
    assert "realtime" in completions_of(magic, "%%stream x --pace r")


def test_the_results_begin_in_the_mode_that_was_asked_for(magic: InteractiveShell) -> None:
    views = magic.magics_manager.registry["StreamMagics"]._views
    for option, mode in (("", "update"), ("--mode append", "append"), ("--mode changelog", "changelog")):
        run(magic, f"%%stream moded {option} --wait\n{BOUNDED}.group_by('k').agg(pl.len())")
        body = views["moded"]._screen.frame()["body"]
        assert body["mode"] == mode
        assert body["columns"][0] == ("op" if mode == "changelog" else "k")
    assert "choose from" in str(error_of(magic, f"%%stream moded --mode table\n{BOUNDED}"))


def test_a_job_takes_no_name_that_the_cell_needs(magic: InteractiveShell) -> None:
    run(magic, f"ticks = {ENDLESS}")
    assert "from the stream that the cell reads" in str(error_of(magic, "%%stream ticks\nticks"))
    assert "from a module" in str(error_of(magic, f"%%stream pl\n{ENDLESS}"))
    assert run(magic, f"%%stream ticks --explain\n{ENDLESS}")[0].success


def test_a_wrong_first_line_is_shown_with_what_was_meant(magic: InteractiveShell) -> None:
    first = "%%stream counts --paralelism 2"
    error = error_of(magic, f"{first}\n{BOUNDED}")
    assert (error.line, error.source) == (1, first)
    assert "did you mean --parallelism?" in str(error)
    assert error_of(magic, "%stream 'open").line is None


def test_unloading_leaves_no_matcher(magic: InteractiveShell) -> None:
    unload_ipython_extension(magic)
    assert magic.input_transformers_cleanup == magic.input_transformer_manager.cleanup_transforms
    assert all(hook.__module__.startswith("IPython") for hook in magic.input_transformers_cleanup)
    assert magic.Completer.custom_matchers == []
