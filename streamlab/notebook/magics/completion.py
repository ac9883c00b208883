"""Completions inside ``%stream`` and ``%%stream``: options, names of jobs, and the columns of streams.

Python's own completions know nothing of a magic's first line, nor that ``pl.col("`` wants a column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell

from streamlab.frame.stream_frame import StreamFrame
from streamlab.job import jobs as all_jobs
from streamlab.notebook.panel.choice import MODES

_MAGIC = re.compile(r"^\s*%%?stream\b(.*)$")
_COLUMN = re.compile(r"""(?:col|on|by|group_by|every|index_column|subset|x|y)?\s*[(\[=,]\s*["'](\w*)$""")
VERBS = ("stop", "cancel", "show", "list")
"""What ``%stream`` does to a job that is named after it."""


VALUES = {
    "--mode": tuple(MODES),
    "--pace": ("max", "realtime", "60x", "3600x"),
    "--checkpoint-every": ("never", "1s", "10s", "1m"),
}
"""What options may be given, where that is a word or something like it."""


def first_line(words: str, options: Iterable[str], jobs: Iterable[str], *, is_cell: bool) -> list[str]:
    """Return what may follow on the first line.

    Examples
    --------
    >>> first_line("stop ho", ["--wait"], ["hourly", "daily"], is_cell=False)
    ['hourly']
    >>> first_line("hourly --w", ["--wait", "--pace"], ["hourly"], is_cell=True)
    ['--wait']
    >>> first_line("hourly --mode a", ["--wait", "--mode"], ["hourly"], is_cell=True)
    ['append']
    """
    before, _, word = words.rpartition(" ")
    last = before.rpartition(" ")[2]
    if is_cell and last in VALUES:
        return [value for value in VALUES[last] if value.startswith(word)]
    if word.startswith("-"):
        return [option for option in options if is_cell and option.startswith(word)]
    found = [] if is_cell and before.strip() else [name for name in jobs if name.startswith(word)]
    if not is_cell and not before.strip():
        found += [verb for verb in VERBS if verb.startswith(word)]
    return found


def columns(cell: str, names: dict[str, Any]) -> list[str]:
    """Return the columns of all streams whose names a cell mentions, those of the first mentioned first.

    Examples
    --------
    >>> import polars as pl, streamlab as sl
    >>> flights = sl.from_frame(pl.DataFrame({"origin": ["JFK"], "n": [1]}))
    >>> columns("flights.filter(", {"flights": flights, "other": 5})
    ['origin', 'n']
    """
    mentioned = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", cell))
    streams = [names[name] for name in mentioned if isinstance(names.get(name), StreamFrame)]
    return list(dict.fromkeys(column for stream in streams for column in stream.schema.names()))


def make_matcher(shell: InteractiveShell, options: list[str]) -> Any:
    """Return a matcher for a shell's completer.

    Parameters
    ----------
    shell
        Whose names are known.
    options
        All options of the magic.
    """

    @context_matcher()
    def stream_matcher(context: CompletionContext) -> SimpleMatcherResult:
        lines = context.full_text.splitlines() or [""]
        line = context.line_with_cursor[: context.cursor_position] if context.line_with_cursor else ""
        magic = _MAGIC.match(line)
        word = line.rpartition(" ")[2]
        found: list[str] = []
        if magic is not None:
            is_cell = line.lstrip().startswith("%%")
            jobs = [job.name for job in all_jobs() if is_cell or not job.status.is_final]
            found = first_line(magic.group(1).removeprefix(" "), options, jobs, is_cell=is_cell)
        elif lines[0].lstrip().startswith("%%stream") and (column := _COLUMN.search(line)) is not None:
            word = column.group(1)
            found = [name for name in columns(context.full_text, shell.user_ns) if name.startswith(word)]
        completions = [SimpleCompletion(text, type="streamlab") for text in dict.fromkeys(found)]
        return SimpleMatcherResult(completions=completions, suppress=bool(found), matched_fragment=word)

    return stream_matcher
