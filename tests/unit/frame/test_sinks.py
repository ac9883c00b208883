"""Outputs that write: the sink that each makes, and the streams that it refuses."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from streamlab.connectors.sinks.batches import BatchesSink
from streamlab.connectors.sinks.files import CsvSink, NdjsonSink, ParquetSink
from streamlab.core.errors import OptionError, PlanError, SinkError
from streamlab.frame.runner import RunOptions
from streamlab.frame.stream_frame import StreamFrame

FOLDER_SINKS = {"sink_parquet": ParquetSink, "sink_csv": CsvSink, "sink_ndjson": NdjsonSink}


@pytest.mark.parametrize(("method", "kind"), FOLDER_SINKS.items())
def test_folders(flights: StreamFrame, runner, tmp_path: Path, method: str, kind: type) -> None:
    plain = flights.drop("tags", "place")

    job = getattr(plain, method)(tmp_path / "out", name="files", parallelism=2, detach=True, roll_rows=7, batch_rows=9)

    assert job == "the job"
    name, plan, options, sink = runner.calls[0]
    assert (name, plan) == ("run", plain.plan)
    assert options == RunOptions("files", 2, "auto", True, {"batch_rows": 9})
    assert isinstance(sink, kind)
    assert (sink.name, sink.folder, sink.roll_rows) == (method, str(tmp_path / "out"), 7)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", FOLDER_SINKS)
def test_folders_take_no_updates(flights: StreamFrame, runner, tmp_path: Path, method: str) -> None:
    with pytest.raises(PlanError, match=f"{method}: needs an append-only stream") as caught:
        getattr(flights.group_by("carrier").len(), method)(tmp_path)

    assert "'group_by'" in str(caught.value)
    assert not runner.calls


@pytest.mark.parametrize("folder", ["", 3, None])
def test_folders_need_a_path(flights: StreamFrame, folder) -> None:
    with pytest.raises(OptionError, match="sink_parquet: needs a folder"):
        flights.sink_parquet(folder)


def test_files_must_hold_the_columns(flights: StreamFrame, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"sink_csv.*'tags'"):
        flights.sink_csv(tmp_path)


def test_batches(flights: StreamFrame, runner) -> None:
    flights.group_by("carrier").agg(pl.len()).sink_batches(print, name="show")

    _, _, options, sink = runner.calls[0]
    assert options.name == "show"
    assert isinstance(sink, BatchesSink)
    assert sink.function is print


def test_batches_need_a_function(flights: StreamFrame) -> None:
    with pytest.raises(OptionError, match="sink_batches: needs a function, got a str"):
        flights.sink_batches("print")


def test_any_sink(flights: StreamFrame, runner, tmp_path: Path) -> None:
    sink = ParquetSink("mine", str(tmp_path))

    flights.write_to(sink)

    assert runner.calls[0][3] is sink
