"""Each argument of Polars' scans is there, or is refused by its name, with the reason."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streamlab as sl

SCANS = ("scan_csv", "scan_parquet", "scan_ndjson", "scan_ipc")
MISSING = [
    (scan, name)
    for scan in SCANS
    for name in inspect.signature(getattr(pl, scan)).parameters
    if name[0] != "_" and name not in inspect.signature(getattr(sl, scan)).parameters
]


@pytest.mark.parametrize(("scan", "name"), MISSING)
def test_what_a_stream_cannot_have_is_refused_with_the_reason(scan: str, name: str) -> None:
    with pytest.raises(TypeError) as caught:
        getattr(sl, scan)("nowhere", **{name: None})
    assert str(caught.value).startswith(f"{scan}() has no argument {name!r}: ")


def test_old_names_say_the_new_ones() -> None:
    with pytest.raises(TypeError, match="schema_overrides"):
        sl.scan_csv("nowhere", dtypes={})
    with pytest.raises(TypeError, match="did you mean 'schema_overrides'"):
        sl.scan_csv("nowhere", schema_override={})


@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson", "ipc"])
def test_a_number_of_rows(tmp_path: Path, suffix: str) -> None:
    scan = f"scan_{suffix}"
    rows = pl.DataFrame({"n": range(10)})
    path = tmp_path / f"a.{'arrow' if suffix == 'ipc' else suffix}"
    getattr(rows, f"write_{suffix}")(path)
    read: Any = getattr(sl, scan)
    assert read(path, n_rows=3).collect()["n"].to_list() == getattr(pl, scan)(path, n_rows=3).collect()["n"].to_list()
    assert "n_rows" in read.__doc__ or suffix == "ipc"
    assert read(path, n_rows=None).collect().height == 10
