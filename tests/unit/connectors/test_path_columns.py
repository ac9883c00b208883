"""Columns that files do not hold: those of a hive layout, as Polars has them, and the file's path."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reading import Run

from streamlab.connectors.files.files import scan_csv, scan_ipc, scan_ndjson, scan_parquet
from streamlab.core.errors import PlanError, SourceError

VALUES = {
    "day": ["2024-01-01", "2024-01-02"],
    "hour": ["01", "2"],
    "x": ["1.5", "2"],
    "s": ["a%20b", "__HIVE_DEFAULT_PARTITION__"],
    "b": ["true", "false"],
    "ts": ["2024-01-01 00:00:00", "2024-01-01 01:00:00"],
    "m": ["1", "z"],
}


def layout(folder: Path, name: str) -> Path:
    for at, value in enumerate(VALUES[name]):
        part = folder / f"{name}={value}"
        part.mkdir()
        pl.DataFrame({"n": [at, at + 10]}).write_parquet(part / "a.parquet")
    return folder


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("options", [{}, {"try_parse_hive_dates": False}, {"hive_partitioning": False}])
def test_a_hive_layout_is_read_as_polars_reads_it(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    folder = layout(tmp_path, name)
    run = Run(scan_parquet(folder, include_file_paths="file", **options)).to_end()
    want = pl.scan_parquet(folder, include_file_paths="file", **options).collect()
    assert run.reasons == []
    assert_frame_equal(run.rows, want, check_row_order=False)


def test_a_dtype_of_ones_own_and_a_column_that_files_have_too(tmp_path: Path) -> None:
    for value in (1, 2):
        (tmp_path / f"k={value}").mkdir()
        pl.DataFrame({"n": [value], "k": [99]}).write_ipc(tmp_path / f"k={value}" / "a.arrow")
    run = Run(scan_ipc(tmp_path, hive_schema={"k": pl.String})).to_end()
    assert sorted(run.rows.rows()) == [(1, "1"), (2, "2")]


def test_a_folder_may_tell_the_event_time(tmp_path: Path) -> None:
    source = scan_parquet(layout(tmp_path, "day"), event_time="day", watermark="0s")
    assert [split.min_time_us for split in source.splits()] == [1704067200000000, 1704153600000000]
    run = Run(source).to_end()
    assert max(run.rows.rows()) == (11, dt.date(2024, 1, 2))


def test_a_folder_that_says_nothing_sensible_makes_dead_letters(tmp_path: Path) -> None:
    source = scan_parquet(layout(tmp_path, "hour"))
    for name in ("hour=noon", "plain"):
        (tmp_path / name).mkdir()
        pl.DataFrame({"n": [7]}).write_parquet(tmp_path / name / "a.parquet")
    assert sorted(Run(source).to_end().reasons) == ["its folder hour=noon is no Int64", "no folder hour=… leads to it"]


@pytest.mark.parametrize("scan", [scan_csv, scan_ndjson])
def test_paths_of_text_files(scan: Any, tmp_path: Path) -> None:
    path = tmp_path / "a[1].txt"
    path.write_text("n\n1\n" if scan is scan_csv else '{"n":1}\n')
    assert Run(scan(path, include_file_paths="from", glob=False)).to_end().rows.rows() == [(1, str(path))]
    with pytest.raises(PlanError, match="include_file_paths to name a new column"):
        scan(path, include_file_paths="n")
    with pytest.raises(SourceError, match="which does not exist"):
        scan(tmp_path / "*.txt", glob=False)
