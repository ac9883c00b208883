"""The body of a %%stream cell: what it gives back, and errors that point at its lines."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from streamlab.notebook.magics.cell import run_cell
from streamlab.notebook.magics.errors import StreamError


def refused(shell: InteractiveShell, body: str) -> StreamError:
    with pytest.raises(StreamError) as caught:
        run_cell(shell, body)
    return caught.value


def test_the_last_expression_is_the_value(shell: InteractiveShell) -> None:
    assert run_cell(shell, "x = 20\nx + 1\n") == 21


def test_names_stay_bound(shell: InteractiveShell) -> None:
    run_cell(shell, "kept = 5\nkept")
    assert shell.user_ns["kept"] == 5


def test_functions_of_the_cell_see_its_names(shell: InteractiveShell) -> None:
    assert run_cell(shell, "a = 3\ndef f():\n    return a\nf()") == 3


def test_an_error_points_at_the_line_of_the_cell(shell: InteractiveShell) -> None:
    error = refused(shell, "a = 1\n\nb = a / 0\nb")
    assert (error.line, error.source, error.kind) == (4, "b = a / 0", "ZeroDivisionError")
    assert error._render_traceback_() == [
        "In line 4 of the cell:",
        "  → b = a / 0",
        "ZeroDivisionError: division by zero",
    ]


def test_an_error_in_a_function_points_at_the_innermost_line_of_the_cell(shell: InteractiveShell) -> None:
    error = refused(shell, "def f():\n    return int('x')\nf()")
    assert (error.line, error.source.strip()) == (3, "return int('x')")
    assert "ValueError" in error.full()
    assert "Traceback" in error.full()


def test_blank_lines_above_are_counted(shell: InteractiveShell) -> None:
    assert refused(shell, "\n\nmissing").line == 4


def test_a_syntax_error_points_at_its_line(shell: InteractiveShell) -> None:
    error = refused(shell, "x = 1\ny = (\n")
    assert (error.line, error.kind) == (3, "SyntaxError")


def test_a_statement_at_the_end_is_explained(shell: InteractiveShell) -> None:
    error = refused(shell, "x = 1\ny = x")
    assert "not an assignment" in str(error)
    assert (error.line, error.source) == (3, "y = x")


@pytest.mark.parametrize("body", ["", "\n\n", "# nothing\n"])
def test_an_empty_cell_is_explained(shell: InteractiveShell, body: str) -> None:
    assert "empty" in str(refused(shell, body))


def test_errors_in_plain_cells_are_as_short(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    begin = "import polars as pl, streamlab as sl\nrows = sl.from_frame(pl.DataFrame({'n': [1]}))\n"
    shell.run_cell(f"{begin}rows.filter(pl.col('m') > 0)")
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["In line 3 of the cell:", "  → rows.filter(pl.col('m') > 0)"]
    assert said[2].startswith("PlanError: filter: needs columns of its input, got 'm'")
    assert len(said) == 4
    for line, needed in (("rows['n']", "NoSuchAccess: "), ("rows.group_by('n', keep=1).agn()", "NoSuchAttribute: ")):
        shell.run_cell(line)
        assert needed in capsys.readouterr().out
