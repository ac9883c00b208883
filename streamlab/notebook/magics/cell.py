"""The body of a ``%%stream`` cell: run it in the notebook's namespace and hand back its last expression.

Line numbers count from the ``%%stream`` line, as the notebook shows them. Names that the body binds stay bound, as in
any other cell. Of a function that calls ``run_cell_magic`` the body sees nothing: IPython hands the notebook's
namespace to every cell magic, also to one that asks for the local scope.
"""

from __future__ import annotations

import ast
import traceback
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from streamlab.notebook.magics.errors import StreamError


def run_cell(shell: InteractiveShell, body: str) -> Any:
    """Run the body and return the value of its last expression.

    Parameters
    ----------
    shell
        Whose namespace and input transformations are used.
    body
        The cell without its first line.

    Raises
    ------
    StreamError
        If it does not end in an expression, or raises; the error behind it is its cause.
    """
    text = _positioned(shell, body)
    lines = text.splitlines()
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        line = error.lineno or 1
        source = error.text or _line(lines, line)
        raise StreamError(error.msg, line=line, source=source, kind="SyntaxError") from error
    if not tree.body:
        message = "the cell is empty; its last line must be a StreamFrame, such as flights.filter(…)"
        raise StreamError(message)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        message = (
            f"the last line must be an expression that gives a StreamFrame, not {_statement(last)}\n"
            "  → end the cell with the name of the stream"
        )
        raise StreamError(message, line=last.lineno, source=_line(lines, last.lineno))
    filename = shell.compile.cache(text)
    try:
        exec(compile(ast.Module(tree.body[:-1], []), filename, "exec"), shell.user_ns)  # noqa: S102
        return eval(compile(ast.Expression(last.value), filename, "eval"), shell.user_ns)  # noqa: S307
    except Exception as error:
        line = _line_in(error, filename) or last.lineno
        shown = StreamError(str(error), line=line, source=_line(lines, line), kind=type(error).__name__)
        raise shown from error


def _positioned(shell: InteractiveShell, body: str) -> str:
    """Return the body as plain Python, with as many lines above it as the cell has."""
    blank = len(body) - len(body.lstrip("\n"))
    return "\n" * (1 + blank) + str(shell.transform_cell(body.lstrip("\n")))


def _line(lines: list[str], number: int) -> str:
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _line_in(error: BaseException, filename: str) -> int | None:
    """Return the innermost line of the cell that the error passed through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == filename]
    return frames[-1].lineno if frames else None


def _statement(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return "an assignment"
    return f"a {type(node).__name__} statement".lower()
