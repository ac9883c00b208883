"""Sources of every kind over the same small data, and ways to read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from streamlab.connectors.contracts.source import START, Position, Source, Split, SplitReader
from streamlab.connectors.files.files import scan_csv, scan_ipc, scan_ndjson, scan_parquet
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.recording.recorded import recorded
from streamlab.connectors.recording.recording import scan_recording
from streamlab.connectors.sources.frames import from_frame
from streamlab.connectors.sources.generate import GenerateSource, Stripes, generate
from streamlab.core.event_time.row_watermarks import unmarked
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS, MAIN, Batch, End, Message

BEGIN = dt.datetime(1969, 12, 31, 23, 59, 40)  # noqa: DTZ001 - naive, as most data are
TIMING: dict[str, Any] = {"event_time": "at", "watermark": "10s"}


def rows(start: int, count: int) -> pl.DataFrame:
    """Return rows from before 1970 on, a second apart, up to 9 s late, with nulls, NaN and text that needs quotes."""
    numbers = range(start, start + count)
    return pl.DataFrame(
        {
            "at": [BEGIN + dt.timedelta(seconds=n - n * 7 % 10) for n in numbers],
            "n": list(numbers),
            "value": [None if n % 5 == 0 else float("nan") if n % 7 == 0 else n / 4 for n in numbers],
            "text": [("plain", 'a "quoted" one', "two\nlines, with comma", None)[n % 4] for n in numbers],
        },
        schema={"at": pl.Datetime("us"), "n": pl.Int64, "value": pl.Float64, "text": pl.String},
    )


def with_gaps(start: int, count: int) -> pl.DataFrame:
    """Return the same, with event times missing."""
    return rows(start, count).with_columns(pl.when(pl.col("n") % 6 != 0).then("at").alias("at"))


def in_stripes(source: GenerateSource, count: int, block_rows: int) -> GenerateSource:
    """Return a generated source as so many subtasks share it, with blocks of another size."""
    return replace(source, stripes=Stripes(count, block_rows))


def _parquet(folder: Path, **timing: Any) -> Source:
    for at in range(3):
        rows(at * 20, 20).write_parquet(folder / f"p{at}.parquet", row_group_size=7)
    return scan_parquet(folder, **timing)


def _parquet_without_statistics(folder: Path, **timing: Any) -> Source:
    pq.write_table(rows(0, 30).to_arrow(), folder / "p.parquet", row_group_size=9, write_statistics=False)
    return scan_parquet(folder, **timing)


def _parquet_with_nulls(folder: Path, **timing: Any) -> Source:
    with_gaps(0, 30).write_parquet(folder / "p.parquet", row_group_size=8)
    return scan_parquet(folder, **timing)


def _parquet_coerced(folder: Path, **timing: Any) -> Source:
    rows(0, 10).write_parquet(folder / "a.parquet")
    other = (
        rows(10, 10)
        .select(pl.col("n").cast(pl.String), "at", new=pl.lit(1))
        .with_columns(pl.when(pl.col("n") == "13").then(pl.lit("thirteen")).otherwise("n").alias("n"))
    )
    other.write_parquet(folder / "b.parquet", row_group_size=3)
    return scan_parquet(folder, schema_policy="coerce", **timing)


def _parquet_damaged(folder: Path, **timing: Any) -> Source:
    rows(0, 10).write_parquet(folder / "a.parquet")
    (folder / "b.parquet").write_bytes((folder / "a.parquet").read_bytes()[:-20])
    rows(10, 5).drop("n").write_parquet(folder / "c.parquet")
    rows(20, 5).write_parquet(folder / "d.parquet")
    return scan_parquet(folder, **timing)


def _ipc(folder: Path, **timing: Any) -> Source:
    with_gaps(0, 20).write_ipc(folder / "a.arrow")
    rows(20, 20).write_ipc(folder / "b.arrow")
    return scan_ipc(folder, **timing)


def _csv(folder: Path, **timing: Any) -> Source:
    rows(0, 30).write_csv(folder / "a.csv", include_bom=True)
    rows(30, 30).write_csv(folder / "b.csv")
    return scan_csv(folder, **timing)


def _csv_with_bad_lines(folder: Path, **timing: Any) -> Source:
    lines = with_gaps(0, 40).with_columns(pl.lit("x").alias("text")).write_csv().splitlines()
    bad = {3: "1,2", 9: "no time,1,1.5,x", 10: '1970-01-01,1,1.0,"never closed', 21: "", 30: "1970-01-01,1,1.0,x,y"}
    text = [line for at, given in enumerate(lines) for line in ([bad[at], given] if at in bad else [given])]
    (folder / "a.csv").write_text("\r\n".join(text))
    return scan_csv(folder, schema=rows(0, 1).schema, **timing)


def _ndjson(folder: Path, **timing: Any) -> Source:
    rows(0, 30).write_ndjson(folder / "a.ndjson")
    rows(30, 30).write_ndjson(folder / "b.ndjson")
    return scan_ndjson(folder, **timing)


def _ndjson_with_bad_lines(folder: Path, **timing: Any) -> Source:
    lines = with_gaps(0, 40).write_ndjson().splitlines()
    for at, line in ((5, "{"), (6, ""), (17, "[1]"), (18, '{"n": "much"}'), (30, '{"at": "soon"}'), (33, "null")):
        lines.insert(at, line)
    (folder / "a.ndjson").write_text("\n".join(lines))
    return scan_ndjson(folder, schema=rows(0, 1).schema, **timing)


@dataclass(frozen=True)
class Once(Source):
    """A source that says that it cannot be read again."""

    source: Source

    @property
    def bounded(self) -> bool:
        return self.source.bounded

    @property
    def replayable(self) -> bool:
        return False

    def splits(self) -> Sequence[Split]:
        return self.source.splits()

    def open(self, split: Split, position: Position) -> SplitReader:
        return self.source.open(split, position)


def _recorded(folder: Path, **timing: Any) -> Source:
    lines = folder / "lines"
    lines.mkdir()
    inner = _ndjson_with_bad_lines(lines, **timing)
    return recorded(Once(inner.name, inner.schema, inner, timing=inner.timing), str(folder / "recording"))


def _recording(folder: Path, **timing: Any) -> Source:
    source = _recorded(folder, **timing)
    for split in source.splits():
        read_split(source, split, limits=(7, 3, 20))
    return scan_recording(folder / "recording")


MAKERS: dict[str, Callable[..., Source]] = {
    "frame": lambda folder, **timing: from_frame(rows(0, 40), **timing),
    "frame with nulls": lambda folder, **timing: from_frame(with_gaps(0, 40), **timing),
    "several frames": lambda folder, **timing: from_frame([rows(0, 5), rows(0, 0), rows(5, 30)], **timing),
    "empty frame": lambda folder, **timing: from_frame(rows(0, 0), **timing),
    "generated": lambda folder, **timing: generate(rows, limit=40, **timing),
    "generated in stripes": lambda folder, **timing: in_stripes(generate(rows, limit=40, **timing), 3, 7),
    "parquet": _parquet,
    "parquet without statistics": _parquet_without_statistics,
    "parquet with nulls": _parquet_with_nulls,
    "parquet coerced": _parquet_coerced,
    "parquet damaged": _parquet_damaged,
    "ipc": _ipc,
    "csv": _csv,
    "csv with bad lines": _csv_with_bad_lines,
    "ndjson": _ndjson,
    "ndjson with bad lines": _ndjson_with_bad_lines,
    "recorded": _recorded,
    "recording": _recording,
}
"""Every kind of source that can be read again, or is recorded, over a folder of its own."""


def read_split(
    source: Source, split: Split, position: Position = START, limits: Iterable[int] = (10**6,)
) -> tuple[pl.DataFrame, pl.DataFrame, list[tuple[int, int, Position]]]:
    """Read a split to its end: its rows, its dead letters, and (rows, letters, position) after each read."""
    reader = source.open(split, position)
    sizes = cycle(limits)
    frame, letters = pl.DataFrame(schema=source.schema), pl.DataFrame(schema=DEAD_LETTER_SCHEMA)
    marks: list[tuple[int, int, Position]] = []
    while not reader.done:
        read = reader.read(next(sizes), 0)
        if read is None:
            continue
        got = read.frame.lazy().collect()
        assert got.schema == source.schema
        assert got.height == read.rows
        frame.extend(got)
        if read.dead_letters is not None:
            letters.extend(read.dead_letters)
        marks.append((frame.height, letters.height, read.position))
    assert reader.read(1, 0) is None
    reader.close()
    reader.close()
    return frame, letters, marks


@dataclass
class Drained:
    """What a reader gave."""

    messages: list[tuple[int, Message]] = field(default_factory=list)
    reader: SourceReader | None = None

    def rows(self, tag: str = MAIN) -> pl.DataFrame:
        """All rows of one tag, in order."""
        frames = [m.collected() for _, m in self.messages if isinstance(m, Batch) and m.tag == tag]
        empty = self.reader.source.schema if self.reader and tag == MAIN else DEAD_LETTER_SCHEMA
        return pl.concat([pl.DataFrame(schema=empty), *map(unmarked, frames)])

    @property
    def letters(self) -> pl.DataFrame:
        """All dead letters."""
        return self.rows(DEAD_LETTERS)


def drain(
    source: Source,
    subtask: int = 0,
    parallelism: int = 1,
    *,
    snapshot: ReaderSnapshot | None = None,
    polls: int = 100_000,
    until_us: int = 2**60,
    **options: Any,
) -> Drained:
    """Poll a reader until it ends, or so many times, or until that time, always at the moment it asks for."""
    reader = SourceReader(source, source.splits(), subtask, parallelism, snapshot, **options)
    out = Drained(reader=reader)
    now_us = 0
    for _ in range(polls):
        got = reader.poll(now_us)
        out.messages += [(now_us, message) for message in got]
        assert reader.rows_read == out.rows().height + out.letters.height
        if got and isinstance(got[-1], End):
            assert reader.poll(now_us) == []
            break
        wish = reader.wakeup_us(now_us)
        now_us = max(now_us + 1, wish) if wish is not None else now_us + 1_000
        if now_us > until_us:
            break
    return out
