"""Errors of a ``%%stream`` cell: a few lines that point into the cell.

They are ordinary exceptions, never IPython's ``UsageError``: that one prints a line and lets the cell pass, so a
notebook whose stream never started would count as having run.
"""

from __future__ import annotations

import traceback

from streamlab.core.errors import StreamlabError


class StreamError(StreamlabError):
    """A ``%%stream`` cell cannot do what it says.

    Parameters
    ----------
    message
        What is wrong; for an error of the cell's own code, that error's text.
    line
        Line of the cell, counted from 1 with the ``%%stream`` line; None when it is none in particular.
    source
        Text of that line.
    kind
        Name of the error's class as it is shown.
    """

    def __init__(self, message: str, *, line: int | None = None, source: str = "", kind: str = "StreamError") -> None:
        super().__init__(message)
        self.line = line
        self.source = source
        self.kind = kind

    def full(self) -> str:
        """Return the whole traceback of the error behind this one, as text."""
        cause = self.__cause__ or self
        return "".join(traceback.format_exception(cause))

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback."""
        shown = []
        if self.line is not None:
            shown = [f"In line {self.line} of the cell:", f"  → {self.source.strip()}"]
        return [*shown, f"{self.kind}: {self}"]
