"""A first row that is far in the future makes all others late: that is said with the row, its file, and what to do."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streamlab as sl
from streamlab.notebook.panel.choice import Choice
from streamlab.notebook.panel.reader import JobReader

FAR = {"at": "2190-05-06T07:08:09", "n": -1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = [FAR, *({"at": f"2024-01-01T00:{minute:02}:00", "n": minute} for minute in range(60))]
    found = tmp_path / "readings.ndjson"
    found.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return found


def hourly(frame: Any) -> Any:
    return frame.group_by_dynamic("at", every="1h").agg(pl.len())


def scan(path: Path) -> Any:
    return sl.scan_ndjson(path, event_time="at", watermark="1m", max_advance="1d")


def says_it(text: str) -> None:
    text = " ".join(text.split())
    for part in (
        "readings.ndjson",
        "2190-05-06 07:08:09",
        '"n":-1',
        "max_advance='1d' refuses such rows behind others",
    ):
        assert part in text
    assert ".filter(pl.col('at') < …).with_watermark('at', …)" in text


def test_collect_and_loops_warn(path: Path) -> None:
    with pytest.warns(sl.LateRowsWarning) as said:
        assert hourly(scan(path)).collect().height == 1
    says_it(str(said[0].message))
    with pytest.warns(sl.LateRowsWarning) as said:
        list(hourly(scan(path)).iter_batches())
    says_it(str(said[0].message))


def test_diagnosis_and_panel_say_it_also_after_the_end(path: Path) -> None:
    job = hourly(scan(path)).start()
    job.wait(60)
    found = [one for one in job.diagnosis() if one.kind == "far future"]
    assert len(found) == 1
    says_it(f"{found[0].sentence} {found[0].move}")
    panel = JobReader(job)
    try:
        says_it(json.dumps(panel.saved(Choice())["findings"], ensure_ascii=False).replace('\\"', '"'))
    finally:
        panel.close()


def test_what_is_advised_helps(path: Path) -> None:
    read = sl.scan_ndjson(path, schema_overrides={"at": pl.Datetime})
    kept = read.filter(pl.col("at") < dt.datetime(2030, 1, 1)).with_watermark("at", "1m")  # noqa: DTZ001 - naive
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hourly(kept).collect()["len"].to_list() == [60]


def test_behind_other_rows_it_is_a_dead_letter(path: Path) -> None:
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([*others, first]) + "\n")
    rows, letters = hourly(scan(path)).collect(dead_letters=True)
    assert rows["len"].to_list() == [60]
    assert "more than max_advance after all rows before it" in letters["reason"][0]
