"""Times in the forms that people write: what a schema is learnt from, the reader reads."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reading import Run

import streamlab as sl
from streamlab.connectors.files.file_source import FileSource
from streamlab.connectors.files.files import scan_csv, scan_ndjson
from streamlab.core.errors import PlanError

NOON = dt.datetime.fromisoformat("2024-01-02 03:04:05")
ZONED = ["2024-01-02 03:04:05 UTC", "2024-01-02 03:04:05Z", "2024-01-02T04:04:05+01:00", "2024-01-01 22:04:05 -0500"]
ZONED += ["2024-01-02T03:04:05.000 GMT", "20240102T030405Z", "Tue, 02 Jan 2024 03:04:05 GMT", "2024-01-02 02:04:05-01"]
ZONED += ["02/Jan/2024:03:04:05 +0000"]
NAIVE = ["2024-01-02 03:04:05", "2024-01-02T03:04:05.000000000", "20240102T030405", "20240102 030405", "20240102030405"]
NAIVE += ["1/2/2024 3:04:05 AM", "01/02/2024 03:04:05 am", "02/01/2024 03:04:05", "02.01.2024 03:04:05"]
NAIVE += ["2024/01/02 03:04:05", "2024-01-02 03:04:05,000", "1704164645", "1704164645000", "1704164645000000"]
NAIVE += ["1704164645000000000", "1704164645.0"]
GIVEN = {
    "%d.%m.%Y %H:%M:%S": "02.01.2024 03:04:05",
    "%m/%d/%y %H:%M:%S": "01/02/24 03:04:05",
    "%Y day %j, %H:%M:%S": "2024 day 002, 03:04:05",
    "s": "1704164645",
    "ms": "1704164645000",
    "us": "1704164645000000",
    "ns": "1704164645000000000",
}


def as_csv(folder: Path, times: list[Any]) -> FileSource:
    rows = "".join(f'"{time}",{n}\n' if "," in str(time) else f"{time},{n}\n" for n, time in enumerate(times))
    (folder / "a.csv").write_text(f"ts,v\n{rows}")
    return scan_csv(folder, event_time="ts", watermark="0s")


def as_ndjson(folder: Path, times: list[Any]) -> FileSource:
    (folder / "a.ndjson").write_text("".join(json.dumps({"ts": time}) + "\n" for time in times))
    return scan_ndjson(folder, event_time="ts", watermark="0s")


@pytest.mark.parametrize("make", [as_csv, as_ndjson])
@pytest.mark.parametrize("text", [*ZONED, *NAIVE])
def test_an_event_time_that_the_schema_accepts_is_read(
    text: str, make: Callable[[Path, list[Any]], FileSource], tmp_path: Path
) -> None:
    run = Run(make(tmp_path, [text, text])).to_end()

    dtype = pl.Datetime("us", "UTC" if text in ZONED else None)
    assert run.source.schema["ts"] == dtype
    assert run.reasons == []
    assert run.rows["ts"].cast(pl.Datetime("us")).to_list() == [NOON, NOON]


@pytest.mark.parametrize("number", [1704164645, 1704164645000, 1704164645000000, 1704164645.0])
def test_numbers_in_json_are_times_since_1970(number: float, tmp_path: Path) -> None:
    assert Run(as_ndjson(tmp_path, [number])).to_end().rows["ts"].to_list() == [NOON]


@pytest.mark.parametrize("text", [*ZONED, *NAIVE])
@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("ns", "Europe/Berlin")])
def test_a_declared_time_is_read_in_any_form(text: str, dtype: pl.DataType, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'ts,v\n"{text}",1\n"{text}",\n')
    run = Run(scan_csv(tmp_path, schema={"ts": dtype, "v": pl.Int64})).to_end()
    assert run.reasons == []
    assert run.rows["ts"].dt.epoch("s").to_list() == [1704164645] * 2


def test_each_time_means_the_same_beside_a_damaged_one(tmp_path: Path) -> None:
    run = Run(as_csv(tmp_path, ["2024-01-02 03:04:05 UTC", "never", "20240102T030405", "1704164645"])).to_end()
    assert run.reasons == ["column 'ts' is no Datetime(time_unit='us', time_zone=None)"]
    assert run.rows.height == 3
    assert run.rows["ts"].n_unique() == 1


@pytest.mark.parametrize("form", GIVEN)
def test_a_form_that_is_given_is_followed(form: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'ts,v\n"{GIVEN[form]}",1\nlater,2\n')
    (tmp_path / "a.ndjson").write_text(
        json.dumps({"ts": GIVEN[form]}) + '\n{"ts":"later"}\n' + json.dumps({"ts": GIVEN[form]}) + "\n"
    )
    (tmp_path / "b.csv").write_text(f'ts,v\n"{GIVEN[form]}",1\n')
    for scan, height in ((scan_csv, 2), (scan_ndjson, 2)):
        run = Run(
            scan(tmp_path, event_time="ts", event_time_format=form, schema_overrides={"ts": pl.Datetime("us")})
        ).to_end()
        assert set(run.rows["ts"]) == {NOON}
        assert (run.rows.height, len(run.reasons)) == (height, 1)
    assert scan_csv(tmp_path / "b.csv", event_time="ts", event_time_format=form).schema["ts"] == pl.Datetime("us")


def test_numbers_that_are_no_times_are_refused_and_each_hint_works(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ts,v\n7,1\n8,2\n")
    with pytest.raises(PlanError, match="event_time_format='s'") as caught:
        scan_csv(path, event_time="ts")
    assert scan_csv(path, event_time="ts", event_time_format="s").schema["ts"] == pl.Datetime("us")
    assert (
        "leave event_time out, then .with_columns(pl.from_epoch('ts', time_unit='s')).with_watermark('ts', '10s')"
        in str(caught.value)
    )
    followed = sl.scan_csv(path).with_columns(pl.from_epoch("ts", time_unit="s")).with_watermark("ts", "10s")
    assert followed.schema["ts"] == pl.Datetime("us")

    rows = pl.DataFrame({"ts": ["02.01.2024 03:04"]})
    rows.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(PlanError, match=r"to_datetime\('%d.%m.%Y %H:%M'\)\)\.with_watermark\('ts', '10s'\)") as caught:
        sl.scan_parquet(tmp_path, event_time="ts")
    assert "event_time_format" not in str(caught.value)
    text = sl.scan_parquet(tmp_path).with_columns(pl.col("ts").str.to_datetime("%d.%m.%Y %H:%M"))
    assert text.with_watermark("ts", "10s").schema["ts"] == pl.Datetime("us")
