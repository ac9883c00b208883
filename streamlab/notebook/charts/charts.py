"""Charts with Bokeh that need no server and no network: a figure as JSON, and BokehJS, once, over the widget's comm.

Figures that belong to us take their colours from JupyterLab's theme; in those that users style, what they have set
stays as it is. Bokeh takes two seconds to import, so it is imported when the first chart is looked at.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

HEIGHT = 230
_NUMBER = "0,0.[00]a"
"""Of Bokeh's `NumeralTickFormatter`: short, with k and m for thousands and millions."""
_CLOCK = {"milliseconds": "%H:%M:%S.%3N", **dict.fromkeys(("seconds", "minsec", "minutes", "hourmin"), "%H:%M:%S")}
"""Of Bokeh's `DatetimeTickFormatter`: the time of day, for charts of the last minutes."""
_DATES = {
    **_CLOCK,
    **dict.fromkeys(("minutes", "hourmin", "hours"), "%d %b %H:%M"),
    "days": "%d %b",
    "months": "%b %Y",
    "years": "%Y",
}
"""The same for event times, which may be of any day; in one line, since lines above each other overlap."""
_FONT = "system-ui, sans-serif"
_LEFT = 106
"""Pixels for what stands at the left, so that charts above each other are in line."""
_TOOLS = "xpan,xwheel_zoom,box_zoom,reset,save"
_SHARED_TOOLS = "xpan,xwheel_zoom,xbox_zoom,save"
"""Of charts whose abscissae move together; what is above them resets them."""
X_RANGE, Y_AXIS = "x range", "y axis"
"""Names of models that the front end sets."""
_ROLES: dict[str, dict[str, str]] = {
    "Plot": {"background_fill_color": "none", "border_fill_color": "none", "outline_line_color": "none"},
    "Title": {"text_color": "text"},
    "Axis": {
        "axis_line_color": "line",
        "major_tick_line_color": "line",
        "minor_tick_line_color": "none",
        "major_label_text_color": "quiet",
        "axis_label_text_color": "quiet",
    },
    "Grid": {"grid_line_color": "line"},
}
"""Which colour of the page a property takes, by the class of the model."""


def line_chart(
    title: str,
    *,
    x_is_time: bool = True,
    y_is_time: bool = False,
    y_label: str = "",
    y_from: float | None = None,
    y_is_count: bool = False,
    x_is_clock: bool = False,
    height: int = HEIGHT,
) -> Any:
    """Return a figure of lines and points, both without data.

    `y_from` is where its ordinate begins, and a count has none but whole numbers there; with `x_is_clock`, the abscissa
    shows the time of day only, and what part of it is the front end's to say.

    Its sources are called ``lines`` (``xs ys color dash label``: one row per line) and ``points``
    (``x y color marker size label``). It has no legend: the front end writes one below it, as text that wraps.
    """
    from bokeh.models import (  # noqa: PLC0415 - two seconds
        ColumnDataSource,
        DatetimeTickFormatter,
        HoverTool,
        NumeralTickFormatter,
        Range1d,
    )
    from bokeh.plotting import figure  # noqa: PLC0415

    fig = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="datetime" if x_is_time else "linear",
        y_axis_type="datetime" if y_is_time else "linear",
        tools=_SHARED_TOOLS if x_is_clock else _TOOLS,
        active_drag=None,
        active_scroll=None,
        title=title,
    )
    fig.toolbar.autohide = True
    fig.toolbar.logo = None
    fig.yaxis.axis_label = y_label or None
    fig.yaxis.name = Y_AXIS
    lines = ColumnDataSource({name: [] for name in ("xs", "ys", "color", "dash", "label")}, name="lines")
    drawn = fig.multi_line("xs", "ys", source=lines, line_color="color", line_dash="dash", line_width=1.8)
    points = ColumnDataSource({name: [] for name in ("x", "y", "color", "marker", "size", "label")}, name="points")
    marks = fig.scatter(
        "x", "y", source=points, color="color", marker="marker", size="size", fill_alpha=0.4, line_alpha=0.7
    )
    fig.add_tools(
        HoverTool(
            renderers=[drawn, marks],
            tooltips=[("", "@label"), ("", f"$y{{{'%F %T' if y_is_time else '0,0.[00]'}}}")],
            formatters={"$y": "datetime"} if y_is_time else {},
        )
    )
    if y_is_time:
        fig.yaxis.formatter = DatetimeTickFormatter(**_DATES)
        fig.yaxis.ticker.desired_num_ticks = 5
    else:
        fig.yaxis.formatter = NumeralTickFormatter(format=_NUMBER)
    if y_from is not None:
        fig.y_range.start = y_from
    if y_is_count:
        fig.yaxis.ticker.min_interval = 1
    if x_is_clock:
        fig.x_range = Range1d(0, 1, name=X_RANGE)
        fig.xaxis.axis_label = "clock"
        fig.xaxis.formatter = DatetimeTickFormatter(**_CLOCK)
        fig.xaxis.ticker.desired_num_ticks = 4
    fig.min_border_left = _LEFT
    fig.grid.grid_line_alpha = 0.6
    fig.title.text_font = _FONT
    fig.title.text_font_size = "12px"
    fig.axis.axis_label_text_font_style = "normal"
    fig.axis.axis_label_text_font_size = "11px"
    fig.axis.axis_label_standoff = 4
    for part in ("axis_label", "major_label"):
        setattr(fig.axis, f"{part}_text_font", _FONT)
    return fig


def packed_figure(fig: Any) -> dict[str, Any]:
    """Return a figure as the front end takes it: ``item``, and in ``free`` what may take the page's colours."""
    from bokeh.embed import json_item  # noqa: PLC0415 - two seconds

    return {"item": json.loads(json.dumps(json_item(fig))), "free": _free(fig)}


def _free(fig: Any) -> list[list[str]]:
    free = []
    for model in fig.references():
        names = {base.__name__ for base in type(model).__mro__} & _ROLES.keys()
        given = model.properties_with_values(include_defaults=False)
        free += [[model.id, prop, role] for name in names for prop, role in _ROLES[name].items() if prop not in given]
    return sorted(free)


@cache
def bokeh_script() -> bytes:
    """Return the text of BokehJS."""
    import bokeh  # noqa: PLC0415 - two seconds

    return (Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js").read_bytes()
