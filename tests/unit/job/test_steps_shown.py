"""What a step by hand shows of itself, and the news of a result table."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import OptionError
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import MAIN
from streamlab.job.control.stepping import Step, _moment, _News, _step
from streamlab.observe.status import SplitRead, StepStatus
from streamlab.runtime.tables.record_log import LogWriter

NOTHING = pl.DataFrame(schema={"op": pl.String, "n": pl.Int64})
ONE = pl.DataFrame({"op": ["+I"], "n": [1]})


def step(changes: pl.DataFrame = NOTHING, **fields: object) -> Step:
    return _step(StepStatus(request="r", state="done", **fields), changes, 5_000_000)


def test_a_step_says_what_was_read_and_what_came_of_it():
    read = (SplitRead("rows", "a", 2), SplitRead("rows", "", 1_000))
    one = step(ONE, read=read, batches=2, watermark_before_us=MIN_TIME_US, watermark_us=1_000_000, late_rows=3)
    assert (one.rows, one.watermark_before, one.watermark) == (
        1_002,
        None,
        dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC),
    )
    assert one.clock == dt.datetime(1970, 1, 1, 0, 0, 5, tzinfo=dt.UTC)
    first, *rest = repr(one).splitlines()
    assert first.split(maxsplit=2)[2] == "2 from rows (a) · 1,000 from rows (in 2 batches)"
    assert rest[:3] == ["watermark     start → 1970-01-01 00:00:01", "came out      1", "late rows     3"]
    assert "shape: (1, 2)" in repr(one)
    assert "<td style='text-align:left'>start → 1970-01-01 00:00:01</td>" in one._repr_html_()


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({}, ["rows read     nothing", "came out      0"]),
        ({"reason": "there are no rows now"}, [..., ..., "note          there are no rows now"]),
        ({"ended": True}, ["rows read     nothing: the sources have ended", ...]),
        ({"watermark_before_us": 0, "watermark_us": 0}, [..., "watermark     1970-01-01 00:00:00", ...]),
        (
            {"watermark_before_us": 0, "watermark_us": MAX_TIME_US},
            [..., "watermark     1970-01-01 00:00:00 → end", ...],
        ),
        ({"dead_letters": 4}, [..., ..., "dead letters  4"]),
    ],
)
def test_what_there_is_not_is_not_shown(fields, lines):
    shown = repr(step(**fields)).splitlines()
    assert len(shown) == len(lines)
    assert all(line in (..., text) for line, text in zip(lines, shown, strict=True))


def handle(results: Path, schema: pl.Schema) -> SimpleNamespace:
    return SimpleNamespace(table=SimpleNamespace(schema=schema), folder=SimpleNamespace(results=results))


def test_news_come_once_and_what_is_rewritten_is_none(tmp_path: Path):
    frame = pl.DataFrame({"n": [1, 2], ROW_KIND: [0, 2]}, schema_overrides={ROW_KIND: pl.Int8})
    log = LogWriter(tmp_path / MAIN, "0", 1)
    news = _News(handle(tmp_path, pl.Schema({"n": pl.Int64})))
    assert news.take().equals(NOTHING)
    log.append(frame)
    assert news.take().rows() == [("+I", 1), ("+U", 2)]
    log.rewrite([(record.header, record.frame) for record in log.records()], 0)
    assert news.take().height == 0
    log.append(frame)
    assert news.take().rows() == [("+I", 1), ("+U", 2)]
    log.close()


def test_a_job_that_writes_elsewhere_has_no_news(tmp_path: Path):
    assert _News(handle(tmp_path, pl.Schema())).take().rows() == []


def test_moments():
    noon = dt.datetime(1970, 1, 1, 12, tzinfo=dt.UTC)
    noon_us = 12 * 3_600_000_000
    for text in (noon, noon.replace(tzinfo=None), "1970-01-01 12:00", "1970-01-01T14:00+02:00", noon_us):
        assert _moment(text) == (noon_us, False)
    assert _moment(dt.date(1970, 1, 2)) == (2 * noon_us, False)
    assert _moment("12h") == _moment(dt.timedelta(hours=12)) == (noon_us, True)
    for wrong in ("noon", None, True, 1.5):
        with pytest.raises(OptionError, match="advance_watermark: needs a datetime, text such as"):
            _moment(wrong)
    with pytest.raises(OptionError, match="a duration of fixed length"):
        _moment("1mo")
