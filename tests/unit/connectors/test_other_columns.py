"""Files with more columns than others, or with dtypes that lose nothing, are read; what is left out is said."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reading import Run
from test_files import FORMATS, GOOD, scan, write

import streamlab as sl
from streamlab.connectors.files.files import scan_ipc, scan_ndjson, scan_parquet
from streamlab.connectors.formats import parquet
from streamlab.connectors.reading.reader import SourceReader
from streamlab.core.errors import SourceError
from streamlab.core.messages import DEAD_LETTERS

MORE = GOOD.with_columns(extra=pl.lit(1))


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_rows_of_a_file_with_one_more_column_are_read_and_the_column_is_said_once(kind: str, tmp_path: Path) -> None:
    write(kind, GOOD, tmp_path / f"1.{kind}")
    write(kind, MORE, tmp_path / f"2.{kind}")
    run = Run(scan(kind, tmp_path)).to_end()
    assert run.rows.schema == GOOD.schema
    assert run.rows.get_column("n").to_list() == [1, 2, 1, 2]
    (reason,), (origin,) = run.reasons, run.letters["origin"].to_list()
    assert "'extra' is" in reason
    assert "left out" in reason
    assert origin.partition(":")[0] == str(tmp_path / f"2.{kind}")


def test_several_more_columns_are_one_letter(tmp_path: Path) -> None:
    write("parquet", GOOD, tmp_path / "1.parquet")
    write("parquet", MORE.with_columns(more=pl.lit(2)), tmp_path / "2.parquet")
    assert Run(scan("parquet", tmp_path)).to_end().reasons == ["columns 'extra', 'more' are new, and left out"]


def test_on_error_fail_raises_with_file_and_column(kind: str, tmp_path: Path) -> None:
    write(kind, GOOD, tmp_path / f"1.{kind}")
    write(kind, MORE, tmp_path / f"2.{kind}")
    with pytest.raises(SourceError, match=rf"2\.{kind}.*'extra'"):
        Run(scan(kind, tmp_path, on_error="fail")).to_end()


def test_files_that_are_found_later_are_treated_alike(kind: str, tmp_path: Path) -> None:
    write(kind, GOOD, tmp_path / f"1.{kind}")
    source = scan(kind, tmp_path, follow=True)
    reader, now_us, given, said = SourceReader(source, source.splits()), 10**15, 0, []
    for step in range(20):
        if step == 5:
            write(kind, MORE, tmp_path / f"2.{kind}")
        now_us += 600_000
        for message in reader.poll(now_us):
            if getattr(message, "tag", "") == DEAD_LETTERS:
                said += message.frame["reason"].to_list()
            elif hasattr(message, "frame"):
                given += message.collected().height
    reader.close()
    assert given == 4
    assert [text for text in said if "'extra'" in text] == said
    assert len(said) == 1


def test_it_is_said_once_of_a_file_in_parts_and_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PART_ROWS", 4)
    monkeypatch.setattr(parquet._parts, "__defaults__", (4,))
    GOOD.write_parquet(tmp_path / "1.parquet")
    pl.concat([MORE] * 8).write_parquet(tmp_path / "2.parquet", row_group_size=2)
    source = scan_parquet(tmp_path)
    assert len(source.splits()) > 2
    assert len(Run(source).to_end().reasons) == 1
    reader, said, rows = SourceReader(source, source.splits(), batch_rows=2), 0, 0
    for _ in range(100):
        for message in reader.poll(0):
            if getattr(message, "tag", "") == DEAD_LETTERS:
                said += message.frame.height
            elif hasattr(message, "frame"):
                rows += message.collected().height
        snapshot = reader.snapshot()
        reader.close()
        reader = SourceReader(source, source.splits(), snapshot=snapshot, batch_rows=2)
    assert (said, rows) == (1, 18)


LOSSLESS: dict[str, tuple[Any, Any, list[Any]]] = {
    "Int32 for Int64": (pl.Int32, pl.Int64, [1, 2]),
    "UInt32 for Int64": (pl.UInt32, pl.Int64, [1, 2]),
    "Int32 for Float64": (pl.Int32, pl.Float64, [1, 2]),
    "Float32 for Float64": (pl.Float32, pl.Float64, [0.5, 1.5]),
    "nulls": (pl.Null, pl.Int64, [None, None]),
    "milliseconds": (pl.Datetime("ms"), pl.Datetime("us"), [dt.datetime(2024, 1, 1)] * 2),  # noqa: DTZ001
    "lists": (pl.List(pl.Int8), pl.List(pl.Int64), [[1], [2]]),
    "categories": (pl.Categorical, pl.String, ["a", "b"]),
}
LOSSY: dict[str, tuple[Any, Any, list[Any]]] = {
    "Int64 for Int32": (pl.Int64, pl.Int32, [1, 2]),
    "Float64 for Int64": (pl.Float64, pl.Int64, [1.5, 2.5]),
    "Int64 for Float64": (pl.Int64, pl.Float64, [1, 2]),
    "Int64 for UInt64": (pl.Int64, pl.UInt64, [1, 2]),
    "nanoseconds": (pl.Datetime("ns"), pl.Datetime("us"), [dt.datetime(2024, 1, 1)] * 2),  # noqa: DTZ001
    "a zone": (pl.Datetime("us", "UTC"), pl.Datetime("us"), [dt.datetime(2024, 1, 1)] * 2),  # noqa: DTZ001
    "text for numbers": (pl.String, pl.Int64, ["1", "2"]),
}


@pytest.mark.parametrize("scans", [scan_parquet, scan_ipc])
@pytest.mark.parametrize("case", LOSSLESS)
def test_another_dtype_that_loses_nothing_is_cast(scans: Any, case: str, tmp_path: Path) -> None:
    got, wanted, values = LOSSLESS[case]
    rows = pl.DataFrame({"v": pl.Series(values, dtype=got)})
    path = tmp_path / "a.file"
    rows.write_parquet(path) if scans is scan_parquet else rows.write_ipc(path)
    run = Run(scans(path, schema={"v": wanted})).to_end()
    assert run.rows.equals(rows.cast({"v": wanted}))
    assert run.letters.is_empty()


@pytest.mark.parametrize("scans", [scan_parquet, scan_ipc])
@pytest.mark.parametrize("case", LOSSY)
def test_another_dtype_that_may_lose_something_is_refused_with_both(scans: Any, case: str, tmp_path: Path) -> None:
    got, wanted, values = LOSSY[case]
    rows = pl.DataFrame({"v": pl.Series(values).cast(got)})
    path = tmp_path / "a.file"
    rows.write_parquet(path) if scans is scan_parquet else rows.write_ipc(path)
    run = Run(scans(path, schema={"v": wanted})).to_end()
    assert run.rows.is_empty()
    (letter,) = run.letters.rows(named=True)
    assert f"column 'v' is {rows.schema['v']}, not {pl.Schema({'v': wanted})['v']}" in letter["reason"]
    assert "schema_policy='coerce'" in letter["reason"]
    assert letter["origin"] == str(path)


def test_a_time_in_another_unit_is_the_event_time_all_the_same(tmp_path: Path) -> None:
    GOOD.write_parquet(tmp_path / "1.parquet")
    GOOD.cast({"at": pl.Datetime("ms")}).write_parquet(tmp_path / "2.parquet")
    source = scan_parquet(tmp_path, event_time="at", watermark="0s")
    assert Run(source).to_end().rows.sort("at").rows() == GOOD[[0, 0, 1, 1]].rows()


def test_the_finding_names_file_and_column(tmp_path: Path) -> None:
    GOOD.write_parquet(tmp_path / "1.parquet")
    MORE.write_parquet(tmp_path / "2.parquet")
    job = sl.scan_parquet(tmp_path).start()
    job.wait(60)
    (finding,) = [one for one in job.diagnosis() if one.kind == "dead letters"]
    assert "column 'extra' is new, and left out (2.parquet)" in finding.sentence


def test_missing_keys_of_one_whole_file_are_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "1.ndjson").write_text('{"a":1,"b":2}\n')
    (tmp_path / "2.ndjson").write_text('{"a":1}\n')
    run = Run(scan_ndjson(tmp_path)).to_end()
    assert run.rows.rows() == [(1, 2)]
    assert "column 'b' is missing" in run.reasons[0]


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_a_file_that_grows_may_have_more_columns_too(kind: str, tmp_path: Path) -> None:
    path = write(kind, MORE, tmp_path / f"app.{kind}")
    source = FORMATS[kind][0](path, schema=dict(GOOD.schema), follow="append")
    snapshot, given, said, now_us = None, 0, [], 10**15
    for _ in range(6):
        reader = SourceReader(source, source.splits(), snapshot=snapshot, batch_rows=1)
        now_us += 300_000
        for message in reader.poll(now_us):
            if getattr(message, "tag", "") == DEAD_LETTERS:
                said += message.frame["reason"].to_list()
            elif hasattr(message, "frame"):
                given += message.collected().height
        snapshot = reader.snapshot()
        reader.close()
    assert given == 2
    assert len(said) == 1
    assert "'extra'" in said[0]
