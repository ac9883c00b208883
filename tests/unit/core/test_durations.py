"""Durations as people write them."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import OptionError
from streamlab.core.time import Duration


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("0.5s", "500ms"),
        (".5s", "500ms"),
        ("-1.5h", "-90m"),
        ("1.5d", "36h"),
        ("0.25ms", "250us"),
        ("1h0.5m", "1h30s"),
        ("2.0s", "2s"),
        ("1.000001s", "1000001us"),
        ("1h30m", "1h30m"),
    ],
)
def test_fractions_are_read_as_smaller_units(text, read):
    duration = Duration.parse(text)
    assert str(duration) == read
    stamp = pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)])
    moved = stamp.dt.offset_by(str(duration))[0] - stamp[0]
    assert moved == dt.timedelta(microseconds=duration.us)


@pytest.mark.parametrize("text", ["0.5mo", "0.5", "0.5us", "1.2.3s", "0.0000001s", "1.s", "s"])
def test_what_is_no_whole_number_of_microseconds_is_refused_as_it_was_given(text):
    with pytest.raises(OptionError, match=text):
        Duration.parse(text)


def test_half_a_second_is_a_duration_everywhere():
    stream = sl.from_frame(
        pl.DataFrame({"t": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]}), event_time="t", watermark="0.5s"
    )
    job = stream.group_by_dynamic("t", every="0.5s").agg(pl.len()).start("half", checkpoint_every="0.5s")
    job.wait(timeout="60.0s")
    assert job.results()["len"].sum() == 1
