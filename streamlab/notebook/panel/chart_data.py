"""The lines of a tab's charts as they travel: whole at first, and then what has changed with each new sample.

A page says with ``need_charts`` that it lacks what a change is made to; then they come whole once more. Now and then
they do so by themselves, for a page whose words the kernel does not hear while a cell runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import compress, count
from operator import ne
from typing import Any

from streamlab.notebook.charts.svg import Line
from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.course import SAMPLES, ChartLines, Course

WHOLE_EVERY = 120
"""Of so many changes one comes whole; with two samples a second that is once a minute."""
_STYLES = dict(zip(SAMPLES, ((0, "circle", 4), (5, "x", 8), (1, "triangle", 8)), strict=True))
"""Style, marker and size of the groups of points."""


def packed_lines(lines: Sequence[Line], binary: Binary, known: Sequence[Line] = ()) -> dict[str, Any]:
    """Return lines and points as the front end takes them.

    Of a line that begins with a part of one in `known`, ``keep`` says which: the place of that one, and where the part
    begins and ends in it. ``x`` and ``y`` are the points that follow.
    """
    places = {line.label: place for place, line in enumerate(known)}
    packed: dict[str, Any] = {"lines": [], "points": []}
    for place, line in enumerate(lines):
        one: dict[str, Any] = {"label": line.label, "place": place, "style": place}
        at = places.get(line.label)
        begin, end = (0, 0) if at is None else _kept(known[at], line)
        if begin < end:
            one["keep"] = [at, begin, end]
        one["x"], one["y"] = (binary.numbers(values[end - begin :]) for values in (line.x, line.y))
        if not line.is_points:
            style = 2 if line.label == "watermark" else place
            packed["lines"].append({**one, "style": style, "steps": line.is_steps})
        elif line.x:
            name = next(name for name in _STYLES if line.label.startswith(name))
            packed["points"].append({**one, **dict(zip(("style", "marker", "size"), _STYLES[name], strict=True))})
    return packed


class ChartData:
    """Some charts of a course.

    Parameters
    ----------
    course
        Where the lines come from.
    charts
        What gives the lines of each chart, by name.
    """

    def __init__(self, course: Course, charts: Mapping[str, Callable[[], ChartLines]]) -> None:
        self._course = course
        self._charts = charts
        self._lines: dict[str, Sequence[Line]] = {}
        self._values: dict[str, Any] = {}
        self._binary = b""
        self._changes = 0
        """How often changes have come since the charts came whole."""
        self._must_be_whole = True

    def send_whole(self) -> None:
        """Have the charts come whole the next time; may be called on any thread."""
        self._must_be_whole = True

    def values(self, binary: Binary) -> dict[str, Any]:
        """Return the charts by name; their ``version`` is another when they are.

        ``base`` is the version that what comes is a change of; None when all of it comes. ``zones`` says in which time
        zones they are. `binary` must be empty, so that the columns lie at the same places each time.
        """
        self._course.read()
        if self._must_be_whole or self._values["version"] != self._course.version:
            self._pack()
        binary.begin_with(self._binary)
        return self._values

    def _pack(self) -> None:
        is_whole = self._must_be_whole or self._changes >= WHOLE_EVERY
        self._must_be_whole = False
        self._changes = 0 if is_whole else self._changes + 1
        charts = {name: chart() for name, chart in self._charts.items()}
        known, self._lines = self._lines, {name: chart.lines for name, chart in charts.items()}
        binary = Binary()
        packed = {
            name: {**packed_lines(lines, binary, () if is_whole else known[name]), "y_label": charts[name].y_label}
            for name, lines in self._lines.items()
        }
        base = None if is_whole else self._values["version"]
        about = {"version": self._course.version, "base": base, "zones": self._course.zones()}
        self._values, self._binary = {**packed, **about}, bytes(binary)


def _kept(known: Line, line: Line) -> tuple[int, int]:
    """Return where the part of a known line lies that another one begins with."""
    old, new = list(zip(known.x, known.y, strict=True)), list(zip(line.x, line.y, strict=True))
    if not new or new[0] not in old:
        return 0, 0
    begin = old.index(new[0])
    same = min(len(old) - begin, len(new))
    return begin, begin + next(compress(count(), map(ne, old[begin:], new)), same)
