"""Errors that a notebook shows in a few lines: the line of the cell, and what is wrong, as a ``%%stream`` cell does."""

from __future__ import annotations

import linecache
import re
import traceback

_LIBRARIES = re.compile(r"[/\\](?:site-packages|dist-packages|streamlab|lib[/\\]python[\d.]+)[/\\]|^<frozen")
_CELL = re.compile(r"^<ipython-input|[/\\]ipykernel_\d+[/\\]")


class ShortTraceback:
    """Makes IPython show an exception by its message and the user's own line, without the calls below that.

    The whole traceback is where it always is: ``import sys; sys.last_value``, or ``%debug``.
    """

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback."""
        calls = traceback.extract_tb(getattr(self, "__traceback__", None))
        own = [call for call in calls if not is_of_library(call.filename)]
        shown = []
        if own:
            call = own[-1]
            source = call.line or linecache.getline(call.filename, call.lineno or 0).strip()
            where = "the cell" if _CELL.search(call.filename) else call.filename
            where = where if call.name.startswith("<") else f"{call.name}() in {where}"
            shown = [f"In line {call.lineno} of {where}:", f"  → {source}"]
        return [*shown, f"{type(self).__name__}: {self}"]


def is_of_library(filename: str) -> bool:
    """Return whether a file holds code that is not a user's own.

    >>> is_of_library("/home/me/.venv/lib/python3.12/site-packages/polars/expr.py"), is_of_library("/home/me/job.py")
    (True, False)
    """
    return _LIBRARIES.search(filename) is not None
