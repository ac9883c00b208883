"""The runner of all frames: its options, and real jobs that leave nothing behind."""

from __future__ import annotations

import itertools
from pathlib import Path

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import JobError, OptionError, PlanError, SourceError, StepFailed
from streamlab.job.history.places import checkpoint_store
from streamlab.job.local_runner import default_parallelism
from streamlab.runtime.job_folder.folder import list_folders

ROWS = pl.DataFrame({"k": ["a", "b", "a"], "n": [1, 2, 3]})


def numbers(start: int, n: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(start, start + n)})


def boom(_: pl.DataFrame) -> pl.DataFrame:
    message = "the cheese is gone"
    raise ValueError(message)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch_row": 1}, "needs one of batch_rows, "),
        ({"batch_rows": 0}, "batch_rows: needs a whole number"),
        ({"batch_ms": "10"}, "batch_ms: needs a whole number"),
        ({"on_error": "ignore"}, "on_error: needs 'fail' or 'dead_letter'"),
        ({"parallelism": 10_000}, "parallelism: needs a number of subtasks"),
        ({"recording_limit_bytes": "1GB"}, "recording_limit_bytes: needs a whole number, at least 1"),
        ({"recording_limit_ms": 0}, "recording_limit_ms: needs a whole number, at least 1"),
        ({"checkpoint_store": 7}, "checkpoint_store: needs a folder or a URL"),
        ({"checkpoint_store": b"bytes"}, "checkpoint_store: needs a folder or a URL"),
        ({"checkpoint_store": ""}, "needs a folder or a URL"),
        ({"checkpoint_store": "nowhere://jobs"}, "needs a folder or a URL that fsspec knows"),
        ({"checkpoint_store": "memory://jobs"}, "that all processes of the job see, got 'memory://jobs'"),
        ({"checkpoint_store": "simplecache::memory://jobs"}, "that all processes of the job see"),
    ],
)
def test_options_are_checked_before_anything_starts(given, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        sl.from_frame(ROWS).collect(**given)
    assert not list_folders()


def test_a_job_does_not_start_from_the_memory_of_this_process() -> None:
    with pytest.raises(OptionError, match="from_savepoint: needs a place that all processes of the job see"):
        sl.from_frame(ROWS).start(from_savepoint="memory://saved")
    assert not list_folders()


def test_a_store_is_noted_so_that_it_holds_in_any_working_directory(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checkpoint_store("kept") == str(tmp_path / "kept")
    assert checkpoint_store(Path("kept")) == str(tmp_path / "kept")
    assert checkpoint_store(f"file://{tmp_path}/a%20b") == str(tmp_path / "a b")
    assert checkpoint_store(None) is None


def test_default_parallelism_is_small() -> None:
    assert 1 <= default_parallelism() <= 4


def test_reserved_columns_are_refused_at_the_source() -> None:
    with pytest.raises(PlanError, match=r"from_frame: .*'__sl_row'"):
        sl.from_frame(pl.DataFrame({"__sl_row": [1]}))


def test_collect_returns_the_rows_and_leaves_nothing() -> None:
    counted = sl.from_frame(ROWS).group_by("k").agg(pl.col("n").sum()).collect(parallelism=2)

    assert sorted(counted.rows()) == [("a", 4), ("b", 2)]
    assert not list_folders()


def test_collect_raises_what_made_the_job_fail_and_leaves_nothing() -> None:
    with pytest.raises(StepFailed, match="the cheese is gone") as caught:
        sl.from_frame(ROWS).map_batches(boom).collect(parallelism=1)

    assert "map_batches" in str(caught.value)
    assert not list_folders()


def test_calls_that_keep_no_job_warn_of_a_file_that_was_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"id":1}\n')
    (tmp_path / "b.ndjson").write_text('{"more":"x"}\n')
    stream = sl.scan_ndjson(tmp_path)

    for call in (stream.collect, lambda: pl.concat(list(stream.iter_batches())), lambda: stream.take(9)):
        with pytest.warns(sl.DeadLetterWarning, match="column 'id' is missing") as said:
            assert call().rows() == [(1,)]
        assert len(said) == 1
        assert said[0].filename == __file__
        assert said[0].message.dead_letters["origin"].to_list() == [str(tmp_path / "b.ndjson")]

    rows, letters = stream.collect(dead_letters=True)
    assert (rows.height, letters.height) == (1, 1)
    with pytest.raises(SourceError, match="column 'id' is missing"):
        stream.collect(on_error="fail")


def test_take_and_iter_batches_of_an_endless_stream_leave_nothing() -> None:
    stream = sl.generate(numbers, rows_per_second=5000)

    assert stream.take(7, timeout="60s").height == 7
    seen = [frame.height for frame in itertools.islice(stream.iter_batches(parallelism=1), 3)]

    assert len(seen) == 3
    assert not list_folders()


def test_take_gives_up_in_time() -> None:
    slow = sl.generate(numbers, rows_per_second=5000).filter(pl.col("n") < 0)

    assert slow.take(1, timeout=0.5).shape == (0, 1)
    assert not list_folders()


def test_iter_batches_raises_what_made_the_job_fail() -> None:
    with pytest.raises(StepFailed, match="the cheese is gone"):
        list(sl.from_frame(ROWS).map_batches(boom).iter_batches(parallelism=1))
    assert not list_folders()


def test_started_jobs_are_found_by_name_and_id() -> None:
    job = sl.from_frame(ROWS).select(pl.len()).start("counted", parallelism=1)
    job.wait("60s")

    assert [found.id for found in sl.jobs()] == [job.id]
    assert sl.attach("counted").results().rows() == [(3,)]
    assert sl.attach(job.id).explain().startswith("count of all rows: over the whole stream")
    with pytest.raises(JobError, match=r"attach: .*'uncounted'"):
        sl.attach("uncounted")
