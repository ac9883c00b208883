"""Charts: well-formed pictures, of every point that is a number, whatever the data."""

from __future__ import annotations

import datetime as dt
import math
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.errors import OptionError
from streamlab.demo.charts import Chart, lines

NAMESPACE = "{http://www.w3.org/2000/svg}"


def elements(chart: Chart, tag: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(chart.svg).findall(f"{NAMESPACE}{tag}")


def words(chart: Chart) -> list[str]:
    return [word for element in elements(chart, "text") for word in element.itertext()]


def test_points_labels_and_rings_are_drawn() -> None:
    frame = pl.DataFrame({"n": [1, 2, 3], "v": [1.0, 4.0, 2.0], "word": ["a", "b", "c"], "ring": [False, True, None]})
    chart = lines(frame, "n", "v", label="word", mark="ring", title="Three")
    assert {"a", "b", "c", "v", "n", "Three"} <= set(words(chart))
    assert [circle.get("r") for circle in elements(chart, "circle")] == ["3", "3", "3", "6"]


def test_higher_values_are_higher_up() -> None:
    chart = lines(pl.DataFrame({"n": [1, 2], "v": [1.0, 4.0]}), "n", "v")
    low, high = (float(circle.get("cy", "nan")) for circle in elements(chart, "circle"))
    assert high < low


def test_a_null_interrupts_the_line() -> None:
    chart = lines(pl.DataFrame({"n": [1, 2, 3, 4], "v": [1.0, None, 2.0, 3.0]}), "n", "v")
    (path,) = elements(chart, "path")
    assert [step[0] for step in (path.get("d") or "").split() if step[0].isalpha()] == ["M", "M", "L"]


def test_each_line_has_a_colour_and_a_pattern_of_its_own() -> None:
    chart = lines(pl.DataFrame({"n": [1, 2], "a": [1, 2], "b": [2, 1], "c": [0, 0]}), "n", ["a", "b", "c"])
    paths = elements(chart, "path")
    assert len({path.get("stroke") for path in paths}) == 3
    assert len({path.get("stroke-dasharray") for path in paths}) == 3


def test_times_are_written_as_times() -> None:
    start = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    days = pl.DataFrame({"time": [start, start + dt.timedelta(days=5)], "v": [1, 2]})
    assert {"01 Jan", "03 Jan"} <= set(words(lines(days, "time", "v")))
    seconds = pl.DataFrame({"time": [start, start + dt.timedelta(seconds=4)], "v": [1, 2]})
    assert "00:00:03" in words(lines(seconds, "time", "v"))


def test_text_is_escaped() -> None:
    name = '<img src=x onerror="1">'
    chart = lines(pl.DataFrame({"n": [1], name: [1.0]}), "n", name, title="<script>")
    assert "<img" not in chart.svg
    assert "<script" not in chart.svg
    assert name in words(chart)


@pytest.mark.parametrize("values", [[], [None], [math.nan, math.inf]])
def test_nothing_to_draw_is_refused(values: list[float | None]) -> None:
    frame = pl.DataFrame({"n": range(len(values)), "v": values}, schema={"n": pl.Int64, "v": pl.Float64})
    with pytest.raises(OptionError, match="columns with numbers"):
        lines(frame, "n", "v")


@given(st.lists(st.tuples(st.floats(-1e12, 1e12), st.none() | st.floats(-1e12, 1e12)), min_size=1, max_size=60))
def test_every_number_lies_within_the_picture(points: list[tuple[float, float | None]]) -> None:
    frame = pl.DataFrame(points, schema={"n": pl.Float64, "v": pl.Float64}, orient="row")
    if frame["v"].null_count() == frame.height:
        return
    chart = lines(frame, "n", "v")
    for circle in elements(chart, "circle"):
        assert 0 <= float(circle.get("cx", "nan")) <= 760
        assert 0 <= float(circle.get("cy", "nan")) <= 300
