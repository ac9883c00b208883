"""What real jobs show of themselves while they run, after they have ended, and across the death of a coordinator."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import polars as pl
from cluster_jobs import rows
from patience import eventually

import streamlab as sl
from streamlab.observe.wording import progress

START_US = 1_700_000_000_000_000


def timed(start: int, n: int) -> pl.DataFrame:
    """Rows 10 ms apart, every fiftieth of which comes 3 s too late, and another fiftieth 1.5 s."""
    number = pl.int_range(start, start + n, eager=True).alias("n")
    late = pl.when(number % 50 == 0).then(3_000_000).when(number % 50 == 25).then(1_500_000).otherwise(0)
    at = (START_US + number * 10_000 - late).cast(pl.Datetime("us"))
    return number.to_frame().select("n", at.alias("at"), k=number % 3)


def test_a_job_shows_its_time_its_windows_and_its_late_rows() -> None:
    stream = sl.generate(timed, rows_per_second=1000, event_time="at", watermark="100ms")
    windows = stream.group_by_dynamic("at", every="1s", group_by="k", allowed_lateness="1s").agg(pl.len().alias("rows"))
    job = windows.start("shown", parallelism=2, batch_ms=20)
    try:
        eventually(
            lambda: job.report().late_rows > 10 and job.report().merged_late_rows > 10, "late rows of both kinds"
        )
        eventually(lambda: {"open", "fired", "closed"} <= set(job.panes()["state"]), "windows in all their states")
        eventually(lambda: set(job.lateness()["outcome"]) == {"set aside", "merged"}, "late rows of both kinds, shown")
        eventually(lambda: job.history("arrivals").height > 3, "arrivals")
        split = job.splits().row(0, named=True)
        assert (split["split"], split["begun"], split["ended"]) == ("rows", True, False)
        assert split["watermark"] is not None
    finally:
        job.stop(drain=True)
    windows = job.panes()
    assert windows["state"].unique().to_list() == ["closed"]
    assert windows["refinements"].max() > 0
    fired = job.results().group_by("at").agg(pl.len().alias("keys"), pl.col("rows").sum())
    shown = windows.select(at=pl.col("window_start").dt.replace_time_zone(None), keys="keys")
    assert shown.join(fired, on="at")["keys"].to_list() == shown.join(fired, on="at")["keys_right"].to_list()
    history = job.history("job")
    assert history["rows_in"].is_sorted()
    assert history.row(-1, named=True)["rows_in"] == job.report().rows_in
    assert history.row(-1, named=True)["state"] == "stopped"
    late = job.lateness()
    assert (late["behind_ms"] > 0).all()
    assert late.filter(pl.col("outcome") == "set aside").height <= job.late_rows().height == job.report().late_rows
    assert [finding.kind for finding in job.diagnosis()] == ["late rows"]
    assert job.completeness()["kept"].to_list()[-1] == 1.0


def test_a_history_goes_on_under_another_coordinator(start) -> None:
    job = start(rows(), checkpoint_every_ms=200)
    feed = job.history_feed()
    eventually(lambda: job.history("job").height > 3 and len(job.checkpoints) > 0, "a history and a checkpoint")
    before = feed.read_new().job
    processes = job._handle.folder.read_processes()
    assert processes is not None
    os.kill(processes.coordinator.pid, signal.SIGKILL)
    eventually(lambda: job.report().restarts > 0 and job.status == "running", "another coordinator")
    count = job.history("job").height
    eventually(lambda: job.history("job").height > count + 2, "more history")
    after = feed.read_new().job
    assert before.row(-1, named=True)["at"] < after.row(0, named=True)["at"]
    whole = job.history("job")
    assert whole.head(before.height).equals(before)
    assert whole["attempt"].is_sorted()
    assert whole["attempt"].n_unique() > 1


def test_a_job_of_files_tells_how_much_of_them_it_has_read(tmp_path: Path) -> None:
    """Through the death of a worker, and in another job that goes on from a savepoint."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        timed(2_000 * number, 2_000).write_csv(folder / f"{number}.csv")
    size = sum(path.stat().st_size for path in folder.iterdir())

    def share(job: sl.Job) -> float:
        report = job.report()
        assert report.bytes_total in {None, size}
        return progress(report) or 0.0

    rows = sl.scan_csv(folder, event_time="at", watermark="1s", pace="10x")
    query = rows.group_by_dynamic("at", every="1s", group_by="k").agg(pl.len().alias("rows"))
    job = query.start("files", parallelism=2, batch_ms=20, checkpoint_every="100ms")
    try:
        eventually(lambda: share(job) > 0.3, "a third of the files")
        before = share(job)
        victim = job.processes().filter(pl.col("role") == "worker")["pid"][0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: job.report().restarts > 0 and job.status == "running", "a restart")
        assert share(job) > 0.8 * before
        assert " % of " in repr(job)
        job.stop(savepoint=tmp_path / "saved")
        stopped = share(job)
        again = query.start("again", parallelism=1, from_savepoint=tmp_path / "saved")
        eventually(lambda: share(again) > 0, "a bar")
        assert share(again) >= 0.95 * stopped
        again.set_pace("max")
        assert again.wait(60) == "finished"
    finally:
        job.cancel()
    assert (again.report().bytes_read, again.report().bytes_total) == (size, size)
