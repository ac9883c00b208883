"""Line charts as plain SVG, for the lessons: they need no script, so a saved notebook shows them everywhere.

Each line has a colour of its own and a dash pattern of its own (Okabe and Ito's colours, which people who are colour
blind can tell apart), and the background is white in every theme.
"""

from __future__ import annotations

import datetime as dt
import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from streamlab.core.errors import OptionError, explained

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 6")
_STROKES = ("━━", "╍╍", "┈┈", "━┅", "━╍", "╌╌")
"""The dash patterns, for the names of lines."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 30, 40
_TICKS = 6
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_TIME_STEPS_S = (
    *(1, 5, 10, 30),
    *(_MINUTE_S * n for n in (1, 5, 10, 30)),
    *(_HOUR_S * n for n in (1, 3, 6, 12)),
    *(_DAY_S * n for n in (1, 2, 5, 7, 14, 30, 61, 122, 365)),
)
_FEW_POINTS = 40
"""Up to so many points each of them is drawn; beyond, only the line."""


@dataclass(frozen=True)
class Chart:
    """A chart that notebooks show by itself.

    Attributes
    ----------
    svg : str
        The picture.
    text : str
        What it shows, in words.
    """

    svg: str
    text: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return self.text


def lines(
    frame: pl.DataFrame,
    x: str,
    y: str | Sequence[str],
    *,
    label: str | None = None,
    mark: str | None = None,
    title: str = "",
    width: int = 760,
    height: int = 300,
) -> Chart:
    """Draw columns against another one, points joined in the order of the rows.

    Parameters
    ----------
    frame
        The points, at least one.
    x
        Column of numbers or times.
    y
        Columns of numbers, up to six; a null or NaN interrupts a line.
    label
        Column of words that are written at the points of the first line.
    mark
        Boolean column: whether the first line's point gets a ring.
    title
        Stands above.
    width, height
        In pixels.

    Raises
    ------
    OptionError
        If there is nothing to draw.

    Examples
    --------
    >>> lines(pl.DataFrame({"hour": [0, 1, 2], "flights": [5, 8, 3]}), "hour", "flights")
    chart of flights against hour, 3 points
    """
    names = [y] if isinstance(y, str) else list(y)
    columns = [frame[name].cast(pl.Float64).to_list() for name in names]
    across = _numbers(frame[x])
    values = [v for column in columns for v in column if _is_number(v)]
    if not values or not 0 < len(names) <= len(_COLOURS):
        got = f"{frame.height} rows, columns {', '.join(names) or 'none'}"
        raise OptionError(explained("lines", needed=f"one to {len(_COLOURS)} columns with numbers", got=got))
    place = _Place(_Axis.over(across), _Axis.over(values), width, height)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'{head} font-family="system-ui,sans-serif" font-size="11" role="img" aria-label="{html.escape(title or x)}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="16" font-size="13" font-weight="600">{html.escape(title)}</text>',
        _names(place, names),
        *_grid(place, frame.schema[x], x),
    ]
    for at, column in enumerate(columns):
        points = list(zip(across, column, strict=True))
        parts += _line(place, points, _COLOURS[at], _DASHES[at])
    first = list(zip(across, columns[0], strict=True))
    if mark is not None:
        ringed = [point for point, ring in zip(first, frame[mark], strict=True) if ring]
        parts += [_circle(place, point, 6, "none", _COLOURS[1]) for point in ringed if _is_number(point[1])]
    if label is not None:
        parts += [
            f'<text x="{place.x(px) + 6:.1f}" y="{place.y(py) + 14:.1f}">{html.escape(str(word))}</text>'
            for (px, py), word in zip(first, frame[label], strict=True)
            if py is not None and _is_number(py)
        ]
    parts.append("</svg>")
    return Chart("".join(parts), f"chart of {', '.join(names)} against {x}, {frame.height} points")


@dataclass(frozen=True)
class _Axis:
    """The values that an axis covers."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float | None]) -> _Axis:
        known = [v for v in values if v is not None and _is_number(v)]
        low, high = min(known), max(known)
        room = (high - low) * 0.04 or 1.0
        return cls(low - room, high + room)

    def ticks(self) -> list[float]:
        """Return round numbers: 1, 2 or 5 times a power of ten apart."""
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
        return [step * n for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


@dataclass(frozen=True)
class _Place:
    """Where values lie in the picture."""

    across: _Axis
    up: _Axis
    width: int
    height: int

    def x(self, value: float) -> float:
        return _LEFT + (value - self.across.low) / (self.across.high - self.across.low) * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.up.low) / (self.up.high - self.up.low)
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)


def _numbers(values: pl.Series) -> list[float]:
    if values.dtype.is_temporal():
        return [us / 1e6 for us in values.cast(pl.Datetime("us")).dt.epoch("us").to_list()]
    return [float(v) for v in values.to_list()]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _names(place: _Place, names: Sequence[str]) -> str:
    """Return the names of the lines, each in its line's colour, level with the title."""
    strokes = [f"{stroke} " for stroke in _STROKES] if len(names) > 1 else [""]
    words = "  ".join(
        f'<tspan fill="{colour}">{stroke}{html.escape(name)}</tspan>'
        for name, colour, stroke in zip(names, _COLOURS, strokes, strict=False)
    )
    return f'<text x="{place.width - _RIGHT}" y="16" text-anchor="end" xml:space="preserve">{words}</text>'


def _grid(place: _Place, dtype: pl.DataType, x: str) -> Iterator[str]:
    floor, ceiling = place.height - _BOTTOM, _TOP
    for tick in place.up.ticks():
        at = place.y(tick)
        yield f'<line x1="{_LEFT}" x2="{place.width - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e0e0e0"/>'
        yield f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#404040">{tick:,.10g}</text>'
    for tick, word in _time_ticks(place.across) if dtype.is_temporal() else _number_ticks(place.across):
        at = place.x(tick)
        yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{ceiling}" y2="{floor}" stroke="#f0f0f0"/>'
        yield f'<text x="{at:.1f}" y="{floor + 15}" text-anchor="middle" fill="#404040">{word}</text>'
    middle = (_LEFT + place.width - _RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{place.height - 6}" text-anchor="middle" fill="#404040">{html.escape(x)}</text>'


def _number_ticks(axis: _Axis) -> list[tuple[float, str]]:
    return [(tick, f"{tick:,.10g}") for tick in axis.ticks()]


def _time_ticks(axis: _Axis) -> list[tuple[float, str]]:
    """Return times at round distances, whole days where the axis is long enough, in UTC."""
    step = next((s for s in _TIME_STEPS_S if s * _TICKS >= axis.high - axis.low), _TIME_STEPS_S[-1])
    form = "%d %b" if step >= _DAY_S else "%H:%M" if step >= _MINUTE_S else "%H:%M:%S"
    first, last = math.ceil(axis.low / step), math.floor(axis.high / step)
    return [(float(n * step), f"{dt.datetime.fromtimestamp(n * step, dt.UTC):{form}}") for n in range(first, last + 1)]


def _line(place: _Place, points: list[tuple[float, float | None]], colour: str, dash: str) -> Iterator[str]:
    path, pen = [], "M"
    for px, py in points:
        if py is None or not _is_number(py):
            pen = "M"
            continue
        path.append(f"{pen}{place.x(px):.1f} {place.y(py):.1f}")
        pen = "L"
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    yield f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes}/>'
    if len(points) <= _FEW_POINTS:
        yield from (_circle(place, point, 3, colour, colour) for point in points if _is_number(point[1]))


def _circle(place: _Place, point: tuple[float, float | None], radius: int, fill: str, stroke: str) -> str:
    px, py = point
    return (
        f'<circle cx="{place.x(px):.1f}" cy="{place.y(py or 0.0):.1f}" r="{radius}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="2"/>'
    )
