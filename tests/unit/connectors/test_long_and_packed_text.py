"""Text files with records longer than a chunk, and files that are no text because they are compressed."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reading import Run

from streamlab.connectors.files.files import scan_csv, scan_ndjson
from streamlab.core.errors import SourceError

SCHEMA = {"a": pl.String(), "n": pl.Int64()}


@pytest.mark.parametrize("lines", [5_000, 20])
def test_a_quoted_field_with_line_ends_that_is_longer_than_a_chunk(tmp_path: Path, lines: int) -> None:
    long = ("x" * (6_000_000 // lines) + ',"\n') * lines
    frame = pl.DataFrame({"a": ["first", long, 'q"\n', long, "last"], "n": range(5)}, schema=SCHEMA)
    frame.write_csv(tmp_path / "rows.csv")
    run = Run(scan_csv(tmp_path, schema=SCHEMA)).to_end()
    assert run.reasons == []
    assert_frame_equal(run.rows, frame)


def test_a_quote_that_never_closes_costs_its_own_line(tmp_path: Path) -> None:
    rows = "".join(f"{'y' * 1000},{number}\n" for number in range(45_000))
    (tmp_path / "rows.csv").write_text(f'a,n\n"open,1\n{rows}')
    run = Run(scan_csv(tmp_path, schema=SCHEMA)).to_end()
    assert run.reasons == ["a quote that is not closed"]
    assert run.rows["n"].to_list() == list(range(45_000))


@pytest.mark.parametrize(("scan", "kind"), [(scan_csv, "csv"), (scan_ndjson, "ndjson")])
def test_compressed_files_are_refused_as_such(tmp_path: Path, scan, kind: str) -> None:
    path = tmp_path / f"rows.{kind}.gz"
    path.write_bytes(gzip.compress(b"a,n\nx,1\n"))
    with pytest.raises(SourceError, match=r"compressed with gzip: unpack it first"):
        scan(path)
    run = Run(scan(path, schema=SCHEMA)).to_end()
    assert run.reasons == ["compressed with gzip: unpack it first"]
    assert run.rows.height == 0
