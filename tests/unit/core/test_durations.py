"""Durations as people write them."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import OptionError
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.timeouts import seconds
from streamlab.frame.outputs import run_options


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


WRITTEN = {
    "1 minute": "1m",
    "5min": "5m",
    "1 hour": "1h",
    "1H": "1h",
    "10 sec": "10s",
    "1.5 hours": "90m",
    "2 weeks": "2w",
    "3 months": "3mo",
    "1 hour and 30 minutes": "1h30m",
    "1 day, 0:01:30": "1d1m30s",
    "0:00:00": "0s",
    "PT1H30M": "1h30m",
    "P1D": "1d",
    "INTERVAL '1' HOUR": "1h",
    "-5 min": "-5m",
    "10 ms": "10ms",
    "250 microseconds": "250us",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_durations_in_words_and_of_other_libraries_are_read(text):
    assert str(Duration.parse(text)) == WRITTEN[text]


@pytest.mark.parametrize("span", [dt.timedelta(seconds=90), dt.timedelta(days=2, microseconds=5), dt.timedelta(0)])
def test_what_python_writes_of_a_timedelta_is_read(span):
    assert Duration.parse(str(span)).us == Duration.parse(span).us


ROWS = pl.DataFrame({"t": [dt.datetime(2024, 1, 1)], "n": [1]})  # noqa: DTZ001 - naive, as most event times are
TAKERS = {
    "watermark": lambda d: sl.from_frame(ROWS, event_time="t", watermark=d),
    "idle_timeout": lambda d: sl.from_frame(ROWS, event_time="t", watermark="1s", idle_timeout=d),
    "max_advance": lambda d: sl.from_frame(ROWS, event_time="t", watermark="1s", max_advance=d),
    "with_watermark": lambda d: sl.from_frame(ROWS).with_watermark("t", d, idle_timeout=d),
    "every": lambda d: timed().group_by_dynamic("t", every=d, period=d, offset=d, allowed_lateness=d).agg(pl.len()),
    "gap": lambda d: timed().group_by_session("t", gap=d).agg(pl.len()),
    "step": lambda d: timed().group_by_cumulative("t", step=d, every=d).agg(pl.len()),
    "trigger": sl.every,
    "interval": sl.system_metrics,
    "reconnect": lambda d: sl.socket("localhost", 9, schema={"n": pl.Int64}, reconnect=d),
    "checkpoint_every": lambda d: run_options(checkpoint_every=d),
    "timeout": seconds,
}


def timed():
    return sl.from_frame(ROWS, event_time="t", watermark="1s")


@pytest.mark.parametrize("argument", TAKERS)
@pytest.mark.parametrize("text", ["1 minute", "1 hour", "10 sec", "5min", "0:01:00", dt.timedelta(minutes=1)])
def test_every_argument_that_takes_a_duration_takes_it_in_words(argument, text):
    TAKERS[argument](text)


@pytest.mark.parametrize("argument", TAKERS)
def test_every_argument_says_how_a_duration_is_written(argument):
    for wrong, hint in (
        ("1M", "'1m' is a minute, '1mo' a month"),
        ("60", "'60s' is so many seconds"),
        ("soon", "units are"),
    ):
        with pytest.raises(OptionError, match=hint):
            TAKERS[argument](wrong)


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
