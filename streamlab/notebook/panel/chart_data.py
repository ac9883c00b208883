"""The lines of a tab's charts as they travel; packed once for all frames between two samples of the job's history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamlab.notebook.panel.course import SAMPLES, Course
from streamlab.notebook.svg import Line
from streamlab.notebook.wire import Binary

_STYLES = dict(zip(SAMPLES, ((0, "circle", 4), (5, "x", 8), (1, "triangle", 8)), strict=True))
"""Style, marker and size of the groups of points."""


def packed_lines(lines: Sequence[Line], binary: Binary) -> dict[str, Any]:
    """Return lines and points as the front end takes them."""
    packed: dict[str, Any] = {"lines": [], "points": []}
    for place, line in enumerate(lines):
        one = {"label": line.label, "style": place, "x": binary.numbers(line.x), "y": binary.numbers(line.y)}
        if not line.is_points:
            packed["lines"].append({**one, "style": 2} if line.label == "watermark" else one)
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

    def __init__(self, course: Course, charts: Mapping[str, Callable[[], Sequence[Line]]]) -> None:
        self._course = course
        self._charts = charts
        self._values: dict[str, Any] = {}
        self._binary = b""

    def values(self, binary: Binary) -> dict[str, Any]:
        """Return the charts by name, and as ``version`` a number that is another when they are.

        `binary` must be empty, so that the columns lie at the same places each time.
        """
        self._course.read()
        if self._values.get("version") != self._course.version:
            fresh = Binary()
            packed = {name: packed_lines(lines(), fresh) for name, lines in self._charts.items()}
            self._values, self._binary = {**packed, "version": self._course.version}, bytes(fresh)
        binary.begin_with(self._binary)
        return self._values
