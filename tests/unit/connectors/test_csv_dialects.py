"""What a reader learns from a CSV file it can read, and it reads what Polars reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reading import Run

from streamlab.connectors.files.files import scan_csv
from streamlab.core.errors import OptionError, SourceError

AS_POLARS: dict[str, tuple[str, dict[str, Any]]] = {
    "a column without a name": (',note,v\n10,"x\ny",1\n11,z,\n', {}),
    "several without names": ("a,a,,\n1,2,3,4\n5,6,7,\n", {}),
    "a header wider than all rows": ("id,name,lat,lon,\n1,x,0,0\n2,y,1,1\n", {}),
    "a header much wider": ("a,b,c,d\n1,2\n3,\n", {}),
    "blank lines before the header": ("\n\r\n\na,b\n1,2\n", {}),
    "blank lines between rows": ("a,b\n\n1,2\n\n\n3,4\n\n", {}),
    "blank lines and quotes": ('a,b\n\n1,"x"\n\n3,\n\n', {}),
    "blank lines in one column": ("a\n1\n\n3\n", {}),
    "nothing but blank lines": ("a,b\n\n\n", {}),
    "a byte order mark": ("\ufeffa,b\n1,2\n", {}),
    "a byte order mark and quotes": ('\ufeff"a b",b\n1,2\n', {}),
    "windows' line ends": ('a,b\r\n1,"x\r\ny"\r\n2,z\r\n', {}),
    "no line end at the end": ('a,b\n1,"x\ny"\n2,z', {}),
    "line breaks in the header": ('"a\nb",c\n1,2\n', {}),
    "doubled quotes": ('a,b\n"x ""y""",1\n"",\n', {}),
    "comments": ('# of "us\n#\na,b\n# it\'s "one\n1,2\n3,"x"\n# end', {"comment_prefix": "#"}),
    "comments in a torn chunk": ('a,b\n#,,\n1,\n#"\n3,4\n', {"comment_prefix": "#"}),
    "a comment within quotes": ('a,b\n1,"x\n# y"\n2,"z"\n3,\n', {"comment_prefix": "#"}),
    "tabs": ("a\tb\n1\tx y\n", {"separator": "\t"}),
    "bars": ("a|b\n1|x,y\n|\n", {"separator": "|"}),
    "decimal commas": ('a;b\n1,5;"2,5"\n3;\n-1,25;\n', {"separator": ";", "decimal_comma": True}),
    "text before the header": ('made by us\n"x\ny"\na,b\n1,2\n', {"skip_rows": 2}),
    "lines before the header": ('made "by us\nx\na,b\n1,2\n', {"skip_lines": 2}),
    "lines before comments": ('"\n# c\na,b\n1,2\n', {"skip_lines": 1, "comment_prefix": "#"}),
    "units behind the header": ("a,b\nm,s\n1,2\n3,\n", {"skip_rows_after_header": 1}),
    "comments, text and units": (
        "# c\nus\na,b\n# d\nm,s\n1,2\n",
        {"comment_prefix": "#", "skip_rows": 1, "skip_rows_after_header": 1},
    ),
    "no header": ("1,2\n\n3,4\n", {"has_header": False}),
    "no header, other names": ("1,2\n3,4\n", {"has_header": False, "new_columns": ["x", "y"]}),
    "other names": ("a,b\n1,2\n3,\n", {"new_columns": ["x", "y"]}),
    "texts that mean null": ("a,b\n-,1\n2,NA\n", {"null_values": ["-", "NA"]}),
    "texts that mean null in one column": ("a,b\n-,-\n2,x\n", {"null_values": {"a": "-"}}),
    "empty text that is none": ('a,b\n1,\n2,""\n', {"empty_string_is_null": False}),
    "fields beyond the last column": ("a,b\n1,2,3\n4,\n", {"truncate_ragged_lines": True}),
    "all text": ("a,b\n1,2\n", {"infer_schema": False}),
    "a dtype of one's own": ("a,b\n1,2\n3,\n", {"schema_overrides": {"a": pl.Float32}}),
    "times": ("a,b\n2024-01-02 03:04:05,1\n2024-01-03 03:04:05,\n", {"try_parse_dates": True}),
    "dates": ("a,b\n2024-01-02,1\n2024-01-03,\n", {"try_parse_dates": True}),
    "western letters": ("a,b\né,1\nü,\n", {"encoding": "latin-1"}),
    "western letters in the header": ("é,b\nx,1\n", {"encoding": "cp1252"}),
    "utf-16": ("a,b\né,1\n😀,\n", {"encoding": "utf-16"}),
    "utf-16 with quoted lines": ('ä,b\n"é\nx",1\n\n😀,\n', {"encoding": "utf-16"}),
    "utf-32": ("a,b\né,1\n", {"encoding": "utf-32"}),
    "japanese": ("a,b\n表,1\nソ,2\n", {"encoding": "shift_jis"}),
}


@pytest.mark.parametrize("case", AS_POLARS)
def test_a_file_is_read_as_polars_reads_it(case: str, tmp_path: Path) -> None:
    text, options = AS_POLARS[case]
    data = text.encode(options.get("encoding", "utf-8"))
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    want = pl.read_csv(data, **options)

    run = Run(scan_csv(path, **options)).to_end()

    assert run.reasons == []
    assert_frame_equal(run.rows, want)


@pytest.mark.parametrize("case", AS_POLARS)
@pytest.mark.parametrize("chunk", [8, 16])
def test_positions_are_those_of_the_file_in_any_encoding(
    case: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, options = AS_POLARS[case]
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(options.get("encoding", "utf-8")))
    source = scan_csv(path, **options)
    whole = Run(source).to_end().rows
    monkeypatch.setattr("streamlab.connectors.formats.text.CHUNK_BYTES", chunk)
    parts = []

    position: Any = 0
    while True:
        reader = source.open(source.splits()[0], position)
        read = reader.read(1, 0)
        if read is None or (not read.rows and reader.done):
            break
        position = read.position
        parts.append(read.frame.lazy().collect())

    assert_frame_equal(pl.concat([whole.clear(), *parts]), whole)


def test_short_records_among_whole_ones_are_dead_letters(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n1,2\n1,2,3\n4,5,\n")
    run = Run(scan_csv(tmp_path)).to_end()
    assert run.rows.rows() == [(1, 2, 3), (4, 5, None)]
    assert run.reasons == ["2 fields, not 3"]


def test_a_file_without_values_teaches_less_than_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "b.csv").write_text("\n\n")
    (tmp_path / "c.csv").write_text("x,y\n")
    (tmp_path / "d.csv").write_text("x,y\n,2\n")
    (tmp_path / "e.csv").write_text("x,y\n2.5,3\n")
    run = Run(scan_csv(tmp_path)).to_end()
    assert run.source.schema == {"x": pl.Float64, "y": pl.Int64}
    assert run.rows.rows() == [(None, 2), (2.5, 3)]
    assert run.reasons == []


@pytest.mark.parametrize(
    ("data", "hint"), [("a\né\n".encode("utf-16"), "utf-16"), ("é\nx\n".encode("latin-1"), "latin-1")]
)
def test_a_file_in_another_encoding_says_how_to_read_it(data: bytes, hint: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(SourceError, match=f"encoding='{hint}'"):
        scan_csv(tmp_path)
    assert Run(scan_csv(tmp_path, encoding=hint)).to_end().rows.height == 1


def test_text_that_is_none_of_the_encoding_is_a_dead_letter_or_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\nx\n\x81\n")
    assert Run(scan_csv(tmp_path, encoding="cp1252")).to_end().reasons == ["not cp1252"]
    assert Run(scan_csv(tmp_path, encoding="utf8-lossy")).to_end().rows.rows() == [("x",), ("\ufffd",)]


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "klingon"},
        {"comment_prefix": ""},
        {"skip_rows": -1},
        {"skip_rows_after_header": True},
        {"decimal_comma": True},
        {"null_values": 7},
        {"event_time_format": "noon"},
    ],
)
def test_options_that_are_none(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(OptionError, match=next(iter(options))):
        scan_csv(tmp_path, **options)
