"""Logs of writers that are gone after a job was scaled down: others take care of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from streamlab.connectors.contracts.sink import SinkContext
from streamlab.core.messages import LATE_ROWS, MAIN
from streamlab.runtime.job_folder.attempts import Attempt, record_attempt
from streamlab.runtime.messages.protocol import Layout, VertexLayout
from streamlab.runtime.tables.record_log import LogReader, LogWriter, orphans
from streamlab.runtime.tables.results import ResultTable, SideTables
from streamlab.runtime.tables.table_reader import TableReader
from streamlab.runtime.task.task import SideOutput

KEEP = 100


def numbers(first: int, count: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(first, first + count)})


def kept(folder: Path) -> dict[str, int]:
    rows: dict[str, int] = {}
    for record in LogReader(folder).read_new():
        rows[record.prefix] = rows.get(record.prefix, 0) + record.frame.height
    return rows


def begin(results: Path, number: int, parallelism: int, restored: int = 0) -> None:
    results.mkdir(exist_ok=True, parents=True)
    vertex = VertexLayout("v", ("v",), parallelism, is_source=True, is_sink=True)
    record_attempt(results, Attempt(number, restored, Layout(parallelism, (vertex,))))


def write(job: Path, attempt: int, parallelism: int, frames: list[pl.DataFrame], restored: int = 0) -> int:
    """Let an attempt write one frame with each subtask, and return how many rows are no longer kept."""
    begin(job / "results", attempt, parallelism, restored)
    table = ResultTable("results", numbers(0, 0).schema, None, KEEP)
    dropped = 0
    for subtask, frame in enumerate(frames):
        context = SinkContext(str(job), subtask, parallelism, attempt, "results", checkpoints=True, restored=restored)
        writer = table.open(context)
        for part in frame.iter_slices(5):
            writer.write(part)
            writer.flush()
        dropped += writer.rows_dropped
        writer.close()
    return dropped


@pytest.mark.parametrize(("before", "after"), [(4, 1), (4, 3), (8, 2), (3, 2)])
def test_a_table_that_was_scaled_down_keeps_its_newest_rows_only(tmp_path, before, after):
    write(tmp_path, 1, before, [numbers(1_000 * subtask, 60) for subtask in range(before)])
    write(tmp_path, 2, after, [numbers(100_000 + 1_000 * subtask, 300) for subtask in range(after)], restored=1)
    rows = TableReader(tmp_path / "results").table()
    assert rows["n"].min() >= 100_000
    assert KEEP <= rows.height <= 2.25 * KEEP + after
    assert set(kept(tmp_path / "results" / MAIN)) == {str(subtask) for subtask in range(after)}


def test_they_go_as_newer_rows_come_the_oldest_first(tmp_path):
    before = [numbers(1_000 * subtask, 30) for subtask in range(3)]
    write(tmp_path, 1, 3, before)
    held = kept(tmp_path / "results" / MAIN)
    write(tmp_path, 2, 1, [numbers(9_000, 10)], restored=1)
    # There is room for all of them yet.
    assert kept(tmp_path / "results" / MAIN) == {**held, "0": held["0"] + 10}
    write(tmp_path, 3, 1, [numbers(10_000, 90)], restored=2)
    rows = TableReader(tmp_path / "results").table()["n"]
    assert set(range(10_000, 10_090)) <= set(rows)
    assert rows.len() < sum(held.values()) + 100


def test_what_is_no_longer_kept_is_counted(tmp_path):
    write(tmp_path, 1, 4, [numbers(1_000 * subtask, 200) for subtask in range(4)])
    dropped = write(tmp_path, 2, 1, [numbers(9_000, 50)], restored=1)
    rows = TableReader(tmp_path / "results").table().height
    assert dropped + rows == 4 * 200 + 50


def test_withdrawn_rows_of_a_writer_that_is_gone_do_not_count(tmp_path):
    """The second attempt goes back to the beginning: what the first one wrote is void."""
    write(tmp_path, 1, 3, [numbers(1_000 * subtask, 30) for subtask in range(3)])
    dropped = write(tmp_path, 2, 1, [numbers(0, 50)])
    assert dropped == 0
    assert TableReader(tmp_path / "results").table()["n"].to_list() == list(range(50))


def test_scaled_up_again_every_writer_finds_its_own(tmp_path):
    write(tmp_path, 1, 3, [numbers(1_000 * subtask, 30) for subtask in range(3)])
    write(tmp_path, 2, 1, [numbers(9_000, 5)], restored=1)
    write(tmp_path, 3, 3, [numbers(10_000 + 1_000 * subtask, 20) for subtask in range(3)], restored=2)
    rows = TableReader(tmp_path / "results").table()["n"]
    assert {n for n in rows if n >= 10_000} == {10_000 + 1_000 * s + n for s in range(3) for n in range(20)}
    assert rows.n_unique() == rows.len()


def test_side_tables_are_inherited_by_workers(tmp_path):
    def write_late(attempt: int, workers: int, count: int) -> None:
        begin(tmp_path, attempt, workers, attempt - 1)
        for worker in range(workers):
            tables = SideTables(tmp_path, worker, attempt, KEEP)
            for part in numbers(10_000 * attempt, count).iter_slices(5):
                tables.store(SideOutput(LATE_ROWS, "step", part, attempt - 1))
                tables.flush(now=True)
            tables.close()

    write_late(1, 4, 90)
    assert set(kept(tmp_path / LATE_ROWS)) == {"w0", "w1", "w2", "w3"}
    write_late(2, 2, 300)
    assert set(kept(tmp_path / LATE_ROWS)) == {"w0", "w1"}
    assert sum(kept(tmp_path / LATE_ROWS).values()) <= 2 * (2.25 * KEEP + 1)


def test_without_a_limit_everything_stays(tmp_path):
    for prefix in ("0", "1"):
        writer = LogWriter(tmp_path, prefix, 1)
        writer.append(numbers(0, 10))
        writer.close()
    writer = LogWriter(tmp_path, "0", 2, inherits=["1"])
    writer.append(numbers(50, 1_000))
    writer.close()
    assert kept(tmp_path) == {"0": 1_010, "1": 10}


def test_each_orphan_has_one_heir(tmp_path):
    for prefix in ("w0", "w1", "w5", "w6", "w12", "seed"):
        LogWriter(tmp_path, prefix, 1).close()
    heirs = {writer: orphans(tmp_path, "w", writer, 3) for writer in range(3)}
    assert heirs == {0: ["seed", "w12", "w6"], 1: [], 2: ["w5"]}
    assert orphans(tmp_path, "", 0, 1) == ["seed", "w0", "w1", "w12", "w5", "w6"]
