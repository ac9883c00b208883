"""Line charts as plain SVG: what stays of a live chart in a saved notebook, where no script runs.

Text has the colour of the page's own, so that it can be read on light and on dark ones.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from streamlab.observe.wording import short_number

COLOURS = ("#2b8cc4", "#c27c00", "#009e73", "#c46a9b", "#418fc9", "#d55e00", "#8a8a8a", "#a07a10")
"""After Okabe and Ito, in shades that stand out on light and on dark pages."""
DASHES = ("", "6 3", "2 3", "8 3 2 3", "12 4", "3 6", "2 2", "10 3 2 3")
_QUIET = 'fill="currentColor" opacity=".75"'
_LINE = "#8884"
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 12, 40, 22
_ROW, _LABEL = 16, 40
"""Pixels between rows of the legend, and letters of a name in it."""
_TICKS = 5
_MOST_POINTS = 400
"""Points of a line that are drawn, so that a saved notebook stays small."""
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60e3, 3600e3, 86_400e3
_LATEST_MS = 5e13
"""About the year 3500: what lies beyond is shown as a number."""
_LARGEST = 1e300
_TIME_STEPS_MS = (
    *(1.0, 10.0, 100.0),
    *(1e3 * n for n in (1, 5, 10, 30)),
    *(_MINUTE_MS * n for n in (1, 5, 10, 30)),
    *(_HOUR_MS * n for n in (1, 3, 6, 12)),
    *(_DAY_MS * n for n in (1, 2, 7, 14, 30, 91, 182, 365, 1825, 3650, 36500, 365000)),
)


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    label : str
        Its name.
    x, y : list[float]
        Its points; times are milliseconds since 1970.
    is_points : bool
        Whether to draw points and no line.
    is_steps : bool
        Whether the line stays at the height of each point until the next one.
    """

    label: str
    x: list[float]
    y: list[float]
    is_points: bool = False
    is_steps: bool = False


def line_svg(
    lines: Sequence[Line], *, title: str, x_is_time: bool, y_is_time: bool, width: int = 720, height: int = 220
) -> str:
    """Return a chart as an ``<svg>`` element, everything in it escaped.

    Examples
    --------
    >>> chart = line_svg([Line("<a>", [0.0, 1.0], [3.0, 4.0])], title="t", x_is_time=False, y_is_time=False)
    >>> "<a>" in chart, "&lt;a&gt;" in chart
    (False, True)
    """
    legend, rows = _legend(lines, width)
    below = (rows - 1) * _ROW
    height += below
    across = _Axis.over([v for line in lines for v in line.x], _LEFT, width - _RIGHT)
    up = _Axis.over([v for line in lines for v in line.y], height - _BOTTOM, _TOP + below)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="max-width:100%;font:11px system-ui,sans-serif" role="img" aria-label="{escape(title)}">'
    )
    parts = [
        head,
        f'<text x="2" y="12" font-weight="600" fill="currentColor">{escape(title)}</text>',
        *legend,
    ]
    if across is not None and up is not None:
        parts += _grid(across, up, x_is_time=x_is_time, y_is_time=y_is_time)
        for place, line in enumerate(lines):
            parts += _drawn(line, place, across, up)
    else:
        parts.append(f'<text x="{_LEFT}" y="{height / 2}" {_QUIET}>nothing to show yet</text>')
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class _Axis:
    """Values and the pixels that they lie at."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, stop: float) -> _Axis | None:
        known = [v for v in values if _can_be_drawn(v)]
        if not known:
            return None
        low, high = min(known), max(known)
        room = max((high - low) * 0.03, abs(low) * 1e-9) or 1.0
        return cls(low - room, high + room, start, stop)

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, *, is_time: bool) -> list[tuple[float, str]]:
        is_time = is_time and max(abs(self.low), abs(self.high)) < _LATEST_MS
        return _time_ticks(self.low, self.high) if is_time else _number_ticks(self.low, self.high)


def _can_be_drawn(value: float) -> bool:
    return math.isfinite(value) and abs(value) < _LARGEST


def _number_ticks(low: float, high: float) -> list[tuple[float, str]]:
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(n * step, f"{n * step:.10g}" if step < 1 else short_number(n * step)) for n in places]


def _time_ticks(low: float, high: float) -> list[tuple[float, str]]:
    step = next((s for s in _TIME_STEPS_MS if s * _TICKS >= high - low), _TIME_STEPS_MS[-1])
    form = "%Y-%m-%d" if step >= _DAY_MS else "%d %H:%M" if step >= _HOUR_MS else "%H:%M:%S"
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(n * step, f"{epoch + dt.timedelta(milliseconds=n * step):{form}}") for n in places]


def _legend(lines: Sequence[Line], width: int) -> tuple[list[str], int]:
    """Return what says which line is which, and how many rows it takes; a long name can be read by pointing at it."""
    parts: list[str] = []
    x, rows = 2.0, 1
    for place, line in enumerate(lines):
        label = line.label if len(line.label) <= _LABEL else line.label[: _LABEL - 1] + "…"
        if x > 2 and x + 26 + 6.5 * len(label) > width:  # noqa: PLR2004 - where a row begins
            x, rows = 2.0, rows + 1
        y = 24 + (rows - 1) * _ROW
        colour = COLOURS[place % len(COLOURS)]
        if line.is_points:
            parts.append(f'<path d="M{x + 6} {y - 4}l8 8m0-8l-8 8" stroke="{colour}" stroke-width="1.6" fill="none"/>')
        else:
            parts.append(f'<path d="M{x} {y}h20" {_stroke(place)}/>')
        title = f"<title>{escape(line.label)}</title>" if label != line.label else ""
        parts.append(f'<text x="{x + 25:.0f}" y="{y + 4}" {_QUIET}>{title}{escape(label)}</text>')
        x += 40 + 6.5 * len(label)
    return parts, rows


def _grid(across: _Axis, up: _Axis, *, x_is_time: bool, y_is_time: bool) -> Iterator[str]:
    for value, word in up.ticks(is_time=y_is_time):
        y = up.at(value)
        yield f'<path d="M{across.start} {y:.1f}H{across.stop}" stroke="{_LINE}"/>'
        yield f'<text x="{across.start - 5}" y="{y + 4:.1f}" text-anchor="end" {_QUIET}>{word}</text>'
    for value, word in across.ticks(is_time=x_is_time):
        x = across.at(value)
        yield f'<text x="{x:.1f}" y="{up.start + 15}" text-anchor="middle" {_QUIET}>{word}</text>'


def _drawn(line: Line, place: int, across: _Axis, up: _Axis) -> Iterator[str]:
    step = max(1, math.ceil(len(line.x) / _MOST_POINTS))
    kept = sorted({*range(0, len(line.x), step), len(line.x) - 1} if line.x else ())
    points = [(line.x[i], line.y[i]) for i in kept if _can_be_drawn(line.x[i]) and _can_be_drawn(line.y[i])]
    if line.is_points:
        marks = "".join(f"M{across.at(x) - 3:.1f} {up.at(y) - 3:.1f}l6 6m0-6l-6 6" for x, y in points)
        yield f'<path d="{marks}" stroke="{COLOURS[place % len(COLOURS)]}" stroke-width="1.4" fill="none"/>'
        return
    if len(points) == 1:
        points = [*points, points[0]]
    steps = [f"M{across.at(points[0][0]):.1f} {up.at(points[0][1]):.1f}"] if points else []
    if line.is_steps:
        steps += [f"H{across.at(x):.1f}V{up.at(y):.1f}" for x, y in points[1:]]
    else:
        steps += [f"L{across.at(x):.1f} {up.at(y):.1f}" for x, y in points[1:]]
    yield f'<path d="{"".join(steps)}" {_stroke(place)} stroke-linecap="round"/>'


def _stroke(place: int) -> str:
    dash = DASHES[place % len(DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{COLOURS[place % len(COLOURS)]}" stroke-width="1.8" fill="none"{dashes}'
