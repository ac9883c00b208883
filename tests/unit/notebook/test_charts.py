"""Charts of result tables: which points, and what stays of them as a picture without scripts."""

from __future__ import annotations

import datetime as dt
import json
import math
import xml.etree.ElementTree as ET

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlab as sl
from streamlab.notebook.charts.chart_lines import MOST_LINES, MOST_POINTS, are_times, lines_of
from streamlab.notebook.charts.charts import bokeh_script, line_chart, packed_figure
from streamlab.notebook.charts.svg import Line, line_svg

EVIL = "<script>alert(1)</script>"
NUMBERS = st.lists(st.floats() | st.integers(-(10**15), 10**15).map(float), max_size=30)


def test_each_value_gets_a_line_in_the_order_of_x() -> None:
    table = pl.DataFrame({"t": [3, 1, 2, 1], "n": [30, 10, None, 7], "k": ["a", "a", "a", None]})
    lines, note = lines_of(table, "t", "n", "k")
    assert [(line.label, line.x, line.y) for line in lines] == [("a", [1.0, 3.0], [10.0, 30.0]), ("null", [1.0], [7.0])]
    assert note == ""


def test_times_are_milliseconds_since_1970() -> None:
    moment = dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    table = pl.DataFrame({"t": [moment], "d": [moment.date()], "s": [dt.timedelta(seconds=2)]})
    assert [lines_of(table, name, name, None)[0][0].x for name in "tds"] == [[-1000.0], [-86_400_000.0], [2000.0]]
    assert are_times(table.schema, "t", "d", None) == (True, True)


def test_of_too_much_the_last_points_and_the_largest_lines_are_shown() -> None:
    lines, note = lines_of(pl.DataFrame({"t": range(MOST_POINTS + 7), "n": 1}), "t", "n", None)
    assert lines[0].x[0] == 7.0
    assert "last" in note
    many = pl.DataFrame({"t": range(60), "n": 1, "k": [i % 20 for i in range(60)]})
    lines, note = lines_of(many, "t", "n", "k")
    assert len(lines) == MOST_LINES
    assert note == f"shown: the {MOST_LINES} of 20 with most rows"


@pytest.mark.parametrize(
    ("x", "y", "by"), [("gone", "n", None), ("k", "n", None), ("n", "k", None), ("n", "n", "gone")]
)
def test_columns_that_cannot_be_drawn(x: str, y: str, by: str | None) -> None:
    with pytest.raises(sl.OptionError, match="plot"):
        are_times(pl.Schema({"n": pl.Int64, "k": pl.String}), x, y, by)


@given(NUMBERS, NUMBERS, st.booleans(), st.booleans(), st.booleans())
def test_every_picture_is_whole_and_has_no_nan(
    x: list[float], y: list[float], xt: bool, yt: bool, points: bool
) -> None:
    size = min(len(x), len(y))
    line = Line(EVIL, x[:size], y[:size], is_points=points)
    picture = line_svg([line], title=EVIL, x_is_time=xt, y_is_time=yt)
    root = ET.fromstring(picture)
    assert "<script" not in picture
    for node in root.iter():
        assert "nan" not in node.get("d", "").lower()
        assert "inf" not in node.get("d", "").lower()


def test_a_long_line_stays_small() -> None:
    line = Line("n", [float(i) for i in range(100_000)], [math.sin(i / 1000) for i in range(100_000)])
    assert len(line_svg([line], title="t", x_is_time=False, y_is_time=False)) < 12_000


def test_every_name_of_a_line_is_there_to_be_read() -> None:
    names = [f"carrier {n} of {'a very long name indeed, ' * (n % 3)}" for n in range(12)]
    lines = [Line(name, [0.0, 1.0], [1.0, 2.0]) for name in names]
    picture = line_svg(lines, title="t", x_is_time=False, y_is_time=False)
    assert [name for name in names if f">{name}<" not in picture] == []
    first_row = picture.index('y="28"'), picture.index('y="44"')
    assert first_row[0] < first_row[1]
    one = line_svg(lines[:1], title="t", x_is_time=False, y_is_time=False)
    assert 'y="44"' not in one
    assert int(one.partition('height="')[2].partition('"')[0]) == 220


def test_a_figure_takes_the_pages_colours_where_nobody_has_set_any() -> None:
    fig = line_chart("t")
    before = {(id_, prop) for id_, prop, _ in packed_figure(fig)["free"]}
    fig.title.text_color = "#cc79a7"
    packed = packed_figure(fig)
    assert before - {(id_, prop) for id_, prop, _ in packed["free"]} == {(fig.title.id, "text_color")}
    assert {"lines", "points"} <= {model.name for model in fig.references()}
    assert len(json.dumps(packed)) < 40_000


def test_bokehs_script_is_there() -> None:
    assert len(bokeh_script()) > 500_000
