"""Bad input, file by file; and what a scan finds out before anything runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from reading import Run

import streamlab as sl
from streamlab.connectors.files.files import FileSource, scan_csv, scan_ipc, scan_ndjson, scan_parquet
from streamlab.core.errors import OptionError, PlanError, SourceError
from streamlab.core.messages import Batch

DAY = dt.datetime(2020, 1, 1)  # noqa: DTZ001 - naive, as in most files
GOOD = pl.DataFrame({"at": [DAY, DAY + dt.timedelta(hours=1)], "n": [1, 2]})
Write = Callable[[pl.DataFrame, Path], None]
FORMATS: dict[str, tuple[Callable[..., FileSource], Write]] = {
    "parquet": (scan_parquet, lambda frame, path: frame.write_parquet(path)),
    "arrow": (scan_ipc, lambda frame, path: frame.write_ipc(path)),
    "csv": (scan_csv, lambda frame, path: frame.write_csv(path)),
    "ndjson": (scan_ndjson, lambda frame, path: frame.write_ndjson(path)),
}
DRIFTS = {
    "added": (GOOD.with_columns(extra=pl.lit(1)), "column 'extra' is new", [1, 2, 1, 2]),
    "missing": (GOOD.drop("n"), "column 'n' is missing", [1, 2, None, None]),
    "retyped": (GOOD.with_columns(n=pl.Series(["x", "y"])), "column 'n' is", [1, 2]),
}


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def scan(kind: str, path: Any, **options: Any) -> FileSource:
    return FORMATS[kind][0](path, event_time="at", **options)


def write(kind: str, frame: pl.DataFrame, path: Path) -> Path:
    FORMATS[kind][1](frame, path)
    return path


# -- schema drift ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", ["missing", "retyped"])
def test_a_file_with_another_schema_goes_to_the_dead_letters(kind: str, drift: str, tmp_path: Path) -> None:
    other, difference, _ = DRIFTS[drift]
    write(kind, GOOD, tmp_path / f"1.{kind}")
    drifted = write(kind, other, tmp_path / f"2.{kind}")
    write(kind, GOOD, tmp_path / f"3.{kind}")
    run = Run(scan(kind, tmp_path)).to_end()
    assert run.rows.get_column("n").to_list() == [1, 2, 1, 2]
    assert run.letters.height == 1
    assert difference in run.reasons[0]
    assert run.letters.row(0)[2:] == (f"2.{kind}", str(drifted))
    assert run.reader.rows_read == 5


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_file_with_another_schema_can_be_coerced(kind: str, drift: str, tmp_path: Path) -> None:
    other, _, expected = DRIFTS[drift]
    write(kind, GOOD, tmp_path / f"1.{kind}")
    write(kind, other, tmp_path / f"2.{kind}")
    run = Run(scan(kind, tmp_path, schema="coerce")).to_end()
    assert run.rows.schema == GOOD.schema
    assert run.rows.get_column("n").to_list() == expected
    assert run.letters.height == 4 - len(expected)
    assert run.reader.rows_read == 4


def test_coercion_casts_what_can_be_cast_row_by_row(tmp_path: Path) -> None:
    GOOD.write_parquet(tmp_path / "1.parquet")
    texts = pl.DataFrame({"at": ["2020-01-01T00:00:00Z", "soon"], "n": [3.0, 4.5]})
    texts.write_parquet(tmp_path / "2.parquet")
    run = Run(scan("parquet", tmp_path, schema_policy="coerce")).to_end()
    assert sorted(run.rows.get_column("n")) == [1, 2, 3]
    assert run.letters.get_column("input").to_list() == ['{"at":"soon","n":4.5}']


def test_the_order_of_columns_is_no_drift(kind: str, tmp_path: Path) -> None:
    write(kind, GOOD, tmp_path / f"1.{kind}")
    write(kind, GOOD.select("n", "at"), tmp_path / f"2.{kind}")
    run = Run(scan(kind, tmp_path)).to_end()
    assert run.rows.rows() == GOOD.rows() * 2
    assert run.letters.is_empty()


def test_failing_names_the_file(kind: str, tmp_path: Path) -> None:
    write(kind, GOOD, tmp_path / f"1.{kind}")
    write(kind, GOOD.drop("n"), tmp_path / f"2.{kind}")
    with pytest.raises(SourceError, match=rf"2\.{kind}.*column 'n' is missing"):
        Run(scan(kind, tmp_path, on_error="fail")).to_end()


def test_the_job_may_decide_to_fail_and_the_source_may_decide_otherwise(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("at,n\n2020-01-01,1\n2020-01-01\n")
    with pytest.raises(SourceError, match=r"1\.csv:3"):
        Run(scan("csv", tmp_path), on_error="fail").to_end()
    assert Run(scan("csv", tmp_path, on_error="dead_letter"), on_error="fail").to_end().letters.height == 1


def test_names_of_other_programs_are_read(tmp_path: Path) -> None:
    at = pl.datetime_range(GOOD["at"][0], GOOD["at"][0], eager=True)
    rows = pl.DataFrame({"__index_level_0__": at, "__v": [1], "__typename": ["x"], "__time": at})
    rows.write_parquet(tmp_path / "a.parquet")
    stream = sl.scan_parquet(tmp_path, event_time="__index_level_0__", watermark="0s")
    assert stream.schema == rows.schema
    with pytest.raises(PlanError, match=r"'__row_kind'.*\n.*from_frame\(frame.rename"):
        sl.from_frame(pl.DataFrame({"__row_kind": [1]}))


# -- malformed lines ---------------------------------------------------------------------------------------------------


def test_malformed_json_lines_leave_the_others_alone(tmp_path: Path) -> None:
    lines = ['{"at":"2020-01-01","n":1}', '{"at":"2020-01', "", '{"at":"2020-01-02","n":"much"}', "7", '{"n":5}', "{}"]
    path = tmp_path / "a.ndjson"
    path.write_bytes("\n".join(lines).encode() + b'\n{"n":6,"at":"2020-01-01","s":"\xff"}\n{"at":"2020-01-03","n":9}')
    run = Run(scan_ndjson(path, schema={"at": pl.Datetime("us"), "n": pl.Int64}, event_time="at")).to_end()
    assert run.rows.get_column("n").to_list() == [1, 9]
    found = {row[3]: (row[1], row[2]) for row in run.letters.rows()}
    assert found[f"{path}:2"] == ("not a JSON object", lines[1])
    assert found[f"{path}:4"] == ("column 'n' is no Int64", lines[3])
    assert found[f"{path}:5"] == ("not a JSON object", "7")
    assert found[f"{path}:8"][0] == "not UTF-8"
    nulls = run.letters.filter(pl.col("reason").str.contains("is null"))
    assert nulls.get_column("input").to_list() == ['{"at":null,"n":5}', '{"at":null,"n":null}']
    assert run.reader.rows_read == 8


def test_malformed_csv_lines_leave_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfat,n,s\r\n2020-01-01,1,"two\r\nlines, ""quoted"""\r\n2020-01-02,x,a\r\n2020-01-03\r\n\r\n'
        b'2020-01-04,4,"open\r\n2020-01-05,5,\xff\r\n2020-01-06,6,a,b\r\nnever,7,a\r\n2020-01-08,8,\r\n2020-01-09,9,"c"'
    )
    schema = {"at": pl.Datetime("us"), "n": pl.Int64, "s": pl.String}
    run = Run(scan_csv(path, schema=schema, event_time="at")).to_end()
    assert run.rows.select("n", "s").rows() == [(1, 'two\r\nlines, "quoted"'), (8, None), (9, "c")]
    assert [(row[3].removeprefix(f"{path}:"), row[1]) for row in run.letters.rows()] == [
        ("4", "column 'n' is no Int64"),
        ("5", "1 fields, not 3"),
        ("7", "a quote that is not closed"),
        ("8", "not UTF-8"),
        ("9", "4 fields, not 3"),
        ("10", "column 'at' is no Datetime(time_unit='us', time_zone=None)"),
        (str(path), "the event time 'at' is null"),  # the blank line, a record of nulls
    ]
    assert run.letters.item(1, "input") == "2020-01-03"


def test_quotes_that_mean_nothing_and_other_separators(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('n;s\n1;"x\n;NA\n')
    source = scan_csv(tmp_path, separator=";", quote_char=None, null_values="NA")
    assert Run(source).to_end().rows.rows() == [(1, '"x'), (None, None)]


def test_a_csv_without_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,x\n2,y\n")
    assert Run(scan_csv(tmp_path, has_header=False)).to_end().rows.rows() == [(1, "x"), (2, "y")]
    named = scan_csv(tmp_path, has_header=False, schema={"n": pl.Int8, "s": pl.String})
    assert Run(named).to_end().rows.columns == ["n", "s"]


def test_types_that_json_readers_do_not_know(tmp_path: Path) -> None:
    schema = {"i": pl.Int8, "d": pl.Decimal(9, 2), "t": pl.Time, "c": pl.Categorical, "l": pl.List(pl.Int64)}
    (tmp_path / "a.ndjson").write_text('{"i":1,"d":2.5,"t":"12:30:00","c":"x","l":[1]}\n{"i":300}\n{"l":5}\n')
    run = Run(scan_ndjson(tmp_path, schema=schema)).to_end()
    assert [str(value) for value in run.rows.row(0)] == ["1", "2.50", "12:30:00", "x", "[1]"]
    assert run.letters.height == 2


def test_a_damaged_time_does_not_hide_that_a_column_is_the_event_time(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,n\n2020-01-01 10:00:00,1\nnever,2\n2020-01-01 10:00:02,3\n")
    (tmp_path / "a.ndjson").write_text('{"at":"2020-01-01T10:00:00Z"}\n{"at":"never"}\n{"at":"2020-01-01T10:00:02Z"}\n')
    for read in (scan_csv, scan_ndjson):
        run = Run(read(tmp_path, event_time="at")).to_end()
        assert run.source.schema["at"].is_temporal()
        assert (run.rows.height, run.letters.height) == (2, 1)


# -- damaged, empty and missing files ----------------------------------------------------------------------------------


def test_a_truncated_file_goes_to_the_dead_letters(tmp_path: Path) -> None:
    for kind in ("parquet", "arrow"):
        folder = tmp_path / kind
        folder.mkdir()
        whole = write(kind, GOOD, folder / f"1.{kind}").read_bytes()
        (folder / f"2.{kind}").write_bytes(whole[: len(whole) // 2])
        (folder / f"0.{kind}").write_bytes(b"")
        run = Run(scan(kind, folder)).to_end()
        assert run.rows.rows() == GOOD.rows()
        assert sorted(run.letters.get_column("input")) == [f"0.{kind}", f"2.{kind}"]
        assert all("cannot be read" in reason for reason in run.reasons)


def test_a_file_that_has_gone_is_a_dead_letter(kind: str, tmp_path: Path) -> None:
    path = write(kind, GOOD, tmp_path / f"1.{kind}")
    run = Run(scan(kind, tmp_path))
    path.unlink()
    run.to_end()
    assert run.rows.is_empty()
    assert "No such file" in run.reasons[0]


def test_empty_files(kind: str, tmp_path: Path) -> None:
    write(kind, GOOD, tmp_path / f"1.{kind}")
    write(kind, GOOD.clear(), tmp_path / f"2.{kind}")
    run = Run(scan(kind, tmp_path)).to_end()
    assert run.rows.rows() == GOOD.rows()
    assert run.letters.is_empty()


@pytest.mark.parametrize("text", ["", "\n", "at,n", "at,n\n", "\ufeffat,n\n\n"])
def test_a_csv_without_rows(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    run = Run(scan("csv", tmp_path, schema=GOOD.schema)).to_end()
    assert run.rows.is_empty()


def test_an_empty_folder_needs_a_schema(kind: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="learn its schema"):
        scan(kind, tmp_path)
    assert Run(scan(kind, tmp_path, schema=GOOD.schema)).to_end().rows.is_empty()


def test_paths_that_are_none(kind: str, tmp_path: Path) -> None:
    for path, error, text in (
        (tmp_path / "nothing", SourceError, "does not exist"),
        ([], OptionError, "empty list"),
        (5, OptionError, "a path"),
        ("s3://bucket/key", OptionError, "local path"),
    ):
        with pytest.raises(error, match=text):
            scan(kind, path)


def test_globs_lists_and_hidden_files(kind: str, tmp_path: Path) -> None:
    for name in ("a10", "a9", "_a1", ".a1", "b1"):
        write(kind, GOOD.head(1).with_columns(n=pl.lit(int(name[-1]))), tmp_path / f"{name}.{kind}")
    write(kind, GOOD, tmp_path / f"a3.{kind}.tmp")
    for follow, found in ((False, ["a3.{}.tmp", "a9.{}", "a10.{}"]), (True, ["a9.{}", "a10.{}"])):
        globbed = scan(kind, str(tmp_path / f"a*.{kind}*"), follow=follow)
        assert [Path(split.id).name for split in globbed.splits()] == [name.format(kind) for name in found]
    assert len(scan(kind, tmp_path).splits()) == 3
    named = [tmp_path / f"b1.{kind}", tmp_path / f"_a1.{kind}"]
    assert [Path(split.id) for split in scan(kind, named).splits()] == named


def test_the_event_time_must_be_a_time_column(kind: str, tmp_path: Path) -> None:
    path = write(kind, GOOD, tmp_path / f"1.{kind}")
    read = FORMATS[kind][0]
    with pytest.raises(PlanError, match="'when'; the columns are at, n"):
        read(path, event_time="when")
    with pytest.raises(PlanError, match="'n' of type Int64"):
        read(path, event_time="n")
    with pytest.raises(PlanError, match="needs a schema"):
        read(path, schema={"n": "integer"})
    with pytest.raises(OptionError, match="schema_policy"):
        read(path, schema_policy="loose")
    with pytest.raises(OptionError, match="on_error"):
        read(path, on_error="ignore")


# -- Parquet -----------------------------------------------------------------------------------------------------------


def test_a_file_of_half_a_million_rows_is_one_lazy_batch(tmp_path: Path) -> None:
    frame = pl.select(at=pl.int_range(500_000).cast(pl.Datetime("ms")), n=pl.int_range(500_000))
    frame.write_parquet(tmp_path / "a.parquet")
    run = Run(scan("parquet", tmp_path, watermark="1s"))
    first = run.poll()[0]
    assert isinstance(first, Batch)
    assert isinstance(first.frame, pl.LazyFrame)
    plan = first.frame.filter(pl.col("n") > 5).select("n").explain()
    assert "PROJECT 1/2 COLUMNS" in plan
    assert "SELECTION" in plan
    assert run.reader.rows_read == 500_000


def test_a_big_file_is_shared_between_subtasks(tmp_path: Path) -> None:
    frame = pl.select(at=pl.int_range(2_500_000).cast(pl.Datetime("us")))
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=400_000)
    splits = scan("parquet", tmp_path, watermark="1s").splits()
    assert [split.rows for split in splits] == [800_000, 800_000, 900_000]
    assert [split.min_time_us for split in splits] == [0, 800_000, 1_600_000]


@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.Datetime("ns"), pl.Date()])
def test_statistics_in_every_unit(dtype: pl.DataType, tmp_path: Path) -> None:
    times = pl.Series("at", [DAY - dt.timedelta(days=60 * 365), DAY]).cast(pl.Datetime("us")).dt.date().cast(dtype)
    pl.DataFrame({"at": times}).write_parquet(tmp_path / "a.parquet")
    run = Run(scan("parquet", tmp_path, watermark="0s"))
    (split,) = run.source.splits()
    assert split.min_time_us == times.dt.epoch("us")[0] < 0
    read = run.source.open(split, 0).read(10, 0)
    assert read is not None
    assert read.max_time_us == times.dt.epoch("us")[1]


def test_times_without_statistics_are_looked_up(tmp_path: Path) -> None:
    pq.write_table(GOOD.to_arrow(), tmp_path / "a.parquet", write_statistics=False)
    run = Run(scan("parquet", tmp_path, watermark="0s"))
    read = run.source.open(run.source.splits()[0], 0).read(10, 0)
    assert read is not None
    assert isinstance(read.frame, pl.LazyFrame)
    assert read.max_time_us == GOOD.get_column("at").dt.epoch("us")[1]


def test_a_broken_page_is_found_when_rows_must_be_looked_at(tmp_path: Path) -> None:
    frame = pl.DataFrame({"at": [DAY] * 999 + [None], "n": range(1000)})
    path = tmp_path / "a.parquet"
    frame.write_parquet(path, compression="uncompressed")
    damaged = bytearray(path.read_bytes())
    damaged[4:60] = b"\xff" * 56
    path.write_bytes(bytes(damaged))
    run = Run(scan("parquet", path)).to_end()
    assert run.rows.is_empty()
    assert "cannot be read" in run.reasons[0]


def test_a_panic_of_polars_while_reading_is_a_dead_letter_with_the_name_of_the_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(kind, GOOD, tmp_path / f"1.{kind}")
    source = FORMATS[kind][0](tmp_path)

    def panics(*_: object, **__: object) -> pl.DataFrame:
        text = "index out of bounds"
        raise pl.exceptions.PanicException(text)

    reads = {"csv": "read_csv", "ndjson": "read_ndjson", "parquet": "scan_parquet", "arrow": "scan_ipc"}
    monkeypatch.setattr(pl, reads[kind], panics)
    run = Run(source).to_end()
    assert run.rows.is_empty()
    assert run.reasons == ["cannot be read: index out of bounds"]
    assert run.letters["origin"].to_list() == [str(tmp_path / f"1.{kind}")]
