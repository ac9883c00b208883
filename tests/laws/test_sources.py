"""Laws that every source keeps, one by one and driven by the reader."""

from __future__ import annotations

import dataclasses
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from source_kit import MAKERS, TIMING, drain, read_split, rows

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.files.files import scan_csv, scan_parquet
from streamlab.connectors.formats import text
from streamlab.connectors.reading.progress import ReaderSnapshot, merge_snapshots
from streamlab.connectors.sources.frames import from_frame
from streamlab.connectors.sources.generate import generate
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, time_us
from streamlab.core.messages import MAIN, Batch, End, Watermark

DELAY_US = 10_000_000
EXAMPLES = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LIMITS = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@pytest.fixture(params=[(name, timed) for name in MAKERS for timed in (True, False)], ids=str)
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    name, timed = request.param
    monkeypatch.setattr(text, "CHUNK_BYTES", 300)
    return MAKERS[name](tmp_path, **(TIMING if timed else {}))


@EXAMPLES
@given(limits=LIMITS)
def test_limits_do_not_change_what_is_read(source: Source, limits: list[int]) -> None:
    for split in source.splits():
        frame, letters, _ = read_split(source, split)
        cut_frame, cut_letters, marks = read_split(source, split, limits=limits)
        assert_frame_equal(cut_frame, frame)
        assert_frame_equal(cut_letters, letters)
        assert all(b[0] - a[0] <= max(limits) for a, b in pairwise([(0, 0, 0), *marks]))


@EXAMPLES
@given(limits=LIMITS, later=LIMITS)
def test_every_position_can_be_opened_again(source: Source, limits: list[int], later: list[int]) -> None:
    for split in source.splits():
        frame, letters, marks = read_split(source, split, limits=limits)
        for given_rows, given_letters, position in marks:
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(position), type=type(position)) == position
            if given_letters and letters.row(given_letters - 1)[3] == split.id and not frame.height:
                continue  # a refused file: a reader that is finished is not opened again
            rest, rest_letters, _ = read_split(source, split, position, later)
            if not letters.get_column("reason").str.contains("cannot be read|another schema").any():
                assert_frame_equal(rest, frame.slice(given_rows))
                assert_frame_equal(rest_letters, letters.slice(given_letters))


def test_a_source_is_a_plain_value(source: Source) -> None:
    if not source.name.startswith("generate"):
        copy = pickle.loads(pickle.dumps(source))
        assert copy.schema == source.schema
        assert list(copy.splits()) == list(source.splits())
    assert source.splits() == source.splits()
    assert source.describe().startswith(source.name)


@EXAMPLES
@given(batch_rows=st.integers(1, 70), parallelism=st.integers(1, 3))
def test_nothing_is_lost_whatever_the_batches_and_the_parallelism(
    source: Source, batch_rows: int, parallelism: int
) -> None:
    whole = drain(source)
    parts = [drain(source, subtask, parallelism, batch_rows=batch_rows) for subtask in range(parallelism)]
    frame = pl.concat([part.rows() for part in parts]).sort("n", "at", nulls_last=True)
    assert_frame_equal(frame, whole.rows().sort("n", "at", nulls_last=True))
    letters = pl.concat([part.letters for part in parts]).sort(pl.all())
    assert_frame_equal(letters, whole.letters.sort(pl.all()))
    if source.timing.event_time:
        assert whole.rows().get_column("at").null_count() == 0


@EXAMPLES
@given(batch_rows=st.integers(1, 70), parallelism=st.integers(1, 3))
def test_watermarks_grow_and_leave_no_row_behind(source: Source, batch_rows: int, parallelism: int) -> None:
    for subtask in range(parallelism):
        current = MIN_TIME_US
        messages = [message for _, message in drain(source, subtask, parallelism, batch_rows=batch_rows).messages]
        for message in messages:
            if isinstance(message, Watermark):
                assert message.us > current
                current = message.us
            elif isinstance(message, Batch) and message.tag == MAIN and source.timing.event_time:
                assert message.collected().select((time_us("at") > current).all()).item()
        assert messages[-2:] == [Watermark(MAX_TIME_US), End()]
        if not source.timing.event_time:
            assert current == MAX_TIME_US
            assert sum(isinstance(message, Watermark) for message in messages) == 1


@EXAMPLES
@given(polls=st.integers(0, 60), batch_rows=st.integers(1, 30), later=st.integers(1, 30), paced=st.booleans())
def test_a_reader_goes_on_from_its_snapshot(
    source: Source, polls: int, batch_rows: int, later: int, paced: bool
) -> None:
    if paced and source.timing.event_time:
        source = dataclasses.replace(source, timing=dataclasses.replace(source.timing, pace=1.0))
    whole = drain(source, batch_rows=batch_rows)
    first = drain(source, polls=polls, batch_rows=batch_rows)
    assert first.reader is not None
    snapshot = msgspec.convert(msgspec.to_builtins(first.reader.snapshot()), ReaderSnapshot)
    first.reader.close()
    rest = drain(source, snapshot=merge_snapshots([snapshot]), batch_rows=later)
    frame = pl.concat([first.rows(), rest.rows()])
    letters = pl.concat([first.letters, rest.letters])
    assert_frame_equal(frame.sort("n", "at"), whole.rows().sort("n", "at"))
    assert_frame_equal(letters.sort(pl.all()), whole.letters.sort(pl.all()))
    restored = [m.us for _, m in rest.messages if isinstance(m, Watermark)]
    assert all(us > snapshot.watermark_us for us in restored)


@EXAMPLES
@given(limits=st.integers(1, 12))
def test_the_watermark_of_one_split_is_its_latest_time_less_the_delay(limits: int) -> None:
    latest = MIN_TIME_US
    for _, message in drain(from_frame(rows(0, 40), **TIMING), batch_rows=limits).messages:
        if isinstance(message, Batch):
            latest = max(latest, message.collected().select(time_us("at").max()).item())
        elif isinstance(message, Watermark) and message.us != MAX_TIME_US:
            assert message.us == latest - DELAY_US - 1


@pytest.mark.parametrize("scan", [scan_parquet, scan_csv], ids=["times known", "times peeked at"])
@EXAMPLES
@given(order=st.permutations(range(6)), batch_rows=st.integers(3, 40))
def test_the_order_of_file_names_makes_no_row_late(
    scan: Any, order: list[int], batch_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    for name, part in enumerate(order):
        frame = rows(part * 20, 20).with_columns(pl.lit("x").alias("text"))
        frame.write_parquet(folder / f"{name}.parquet", row_group_size=6)
        frame.write_csv(folder / f"{name}.csv")
    current = MIN_TIME_US
    whole = drain(scan(folder, **TIMING), batch_rows=batch_rows)
    for _, message in whole.messages:
        if isinstance(message, Watermark):
            current = message.us
        elif isinstance(message, Batch):
            assert message.collected().select((time_us("at") > current).all()).item()
    assert whole.rows().height == 120


@EXAMPLES
@given(pace=st.sampled_from(["realtime", "60x", 0.5]), batch_rows=st.integers(1, 50))
def test_a_paced_row_comes_when_its_time_has_come(pace: str | float, batch_rows: int) -> None:
    source = generate(rows, limit=40, pace=pace, **TIMING)
    factor = source.timing.pace or 0
    whole = drain(source, batch_rows=batch_rows, batch_ms=0)
    assert whole.rows().get_column("n").to_list() == list(range(40))
    begin: int | None = None
    for now_us, message in whole.messages:
        if isinstance(message, Batch):
            times = message.collected().select(time_us("at")).to_series()
            begin = times[0] if begin is None else begin
            assert times.max() <= begin + now_us * factor + 1
    assert whole.messages[-1][0] >= 9_000_000 / factor
