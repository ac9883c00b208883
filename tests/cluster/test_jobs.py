"""Jobs in real processes, from start to end."""

from __future__ import annotations

import threading

import polars as pl
import pytest
import zmq
from cluster_jobs import (
    ENDLESS,
    chatty,
    expected_totals,
    never_returns,
    never_stops_talking,
    rows,
    slow,
    totals,
    worker_environment,
)
from patience import eventually

from streamlab.core.errors import JobError, OptionError, PlanError
from streamlab.job.job import Job
from streamlab.observe.status import JobState
from streamlab.runtime.client.client import find, list_jobs
from streamlab.runtime.client.sweeping import sweep
from streamlab.runtime.process.job_log import LOG_BYTES


def has_rows(job: Job) -> bool:
    return job.report().rows_in > 0


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_a_job_runs_to_its_end(start, parallelism):
    job = start(totals(slow, parallelism=parallelism), parallelism=parallelism)
    assert job.wait(60) == "finished"
    assert sorted(job.results().rows()) == expected_totals()
    report = job.report()
    assert (report.rows_in, report.rows_total, report.rows_out) == (2000, 2000, 10)
    assert report.late_rows == job.late_rows().height > 0
    assert report.submitted_us < report.started_us <= report.ended_us
    assert job.metrics().filter(pl.col("vertex") == "total")["rows_in"].sum() == 2000
    assert job.watermarks()["at_end"].all()
    assert job.changelog()["op"].unique().to_list() == ["+I"]
    assert job.to_pandas().shape == (10, 3)
    assert job.dead_letters().height == 0
    assert job.exception is None
    assert job.explain() == "the plan"


def test_starting_does_not_wait_for_the_workers(start):
    job = start(rows(never_returns))
    assert job.status in {JobState.STARTING, JobState.RUNNING}
    assert job.results().height == 0
    assert set(job.metrics()["vertex"]) <= {"numbers"}
    assert set(job.watermarks()["watermark"]) <= {None}


def test_waiting_can_end_before_the_job(start):
    job = start(rows(slow))
    assert not job.wait(0).is_final
    assert not job.wait("10ms").is_final
    with pytest.raises(OptionError, match="timeout"):
        job.wait(-1)


def test_results_are_there_while_the_job_runs(start):
    job = start(rows(slow))
    eventually(lambda: job.results().height > 500, "rows arrive")
    assert job.status == "running"
    before = job.report().rows_in
    eventually(lambda: job.report().rows_in > before, "the status goes on")


def fewest_rows(job):
    return min((task.rows_in for task in job.report().tasks), default=0)


def test_an_endless_table_keeps_its_newest_rows(start):
    job = start(rows())
    eventually(lambda: fewest_rows(job) > 20_000, "each task has many rows")
    job.stop()
    newest = job.report().rows_in // 2
    kept = job.results()
    assert 10_000 <= kept.height <= 22_500  # whole files are dropped, so up to 2.25 times keep_rows stay
    assert kept["v"].max() > newest * 0.5
    assert job.report().rows_dropped == job.report().rows_out - kept.height
    assert f"no longer kept {job.report().rows_dropped:,}" in repr(job)


def test_pause_holds_the_sources_and_resume_goes_on(start):
    job = start(rows(slow))
    eventually(lambda: has_rows(job), "rows arrive")
    job.pause()
    assert job.status == "paused"
    rows_in: dict[int, int] = {}

    def held() -> bool:
        report = job.report()
        rows_in[report.reported_us] = report.rows_in
        newest = list(rows_in.values())[-4:]
        return len(newest) == 4 and len(set(newest)) == 1

    eventually(held, "four reports without new rows")
    paused_at = job.report().rows_in
    job.resume()
    assert job.status == "running"
    eventually(lambda: job.report().rows_in > paused_at, "rows again")


def test_stop_works_through_what_was_read(start):
    job = start(totals(slow, total=ENDLESS))
    eventually(lambda: has_rows(job), "rows arrive")
    assert job.stop() == "stopped"
    assert job.results()["rows"].sum() == job.report().rows_in > 0
    assert job.stop() == "stopped"
    assert job.wait() == "stopped"


def test_a_paused_job_can_be_stopped(start):
    job = start(totals(slow, total=ENDLESS))
    eventually(lambda: has_rows(job), "rows arrive")
    job.pause()
    assert job.stop() == "stopped"
    assert job.results()["rows"].sum() == job.report().rows_in


def test_cancel_ends_now(start):
    job = start(totals(slow, total=ENDLESS))
    eventually(lambda: has_rows(job), "rows arrive")
    assert job.cancel() == "cancelled"
    assert job.results().height == 0
    assert job.wait() == "cancelled"
    for request in (job.pause, job.resume):
        with pytest.raises(JobError, match="cancelled"):
            request()


@pytest.mark.parametrize("request_name", ["stop", "cancel"])
def test_a_job_can_be_ended_before_it_has_begun(start, request_name):
    job = start(rows(slow))
    assert getattr(job, request_name)().is_final


def test_what_user_code_prints_is_in_the_log(start):
    job = start(rows(chatty, total=200))
    job.wait(60)
    assert job.log().count("hello from 0") == 2


def test_workers_have_one_polars_thread_no_input_and_the_users_environment(start, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.setenv("POLARS_MAX_THREADS", "2")
    job = start(rows(worker_environment, total=100))
    job.wait(60)
    assert "THREADS 1 PYTHONPATH /mine INPUT" in job.log()


def test_two_running_jobs_cannot_share_a_name(start):
    first = start(rows(slow), "same")
    with pytest.raises(OptionError, match=f"'same', the name of job {first.id}"):
        start(rows(slow), "same")
    first.cancel()
    assert start(totals(), "same").wait(60) == "finished"


def test_jobs_are_found_by_name_and_id(start):
    old = start(totals(), "a")
    old.wait(60)
    new = start(rows(slow), "a")
    other = start(totals(), "b")
    other.wait(60)
    assert [h.meta.id for h in list_jobs()] == [old.id, new.id, other.id]
    assert find("a").meta.id == new.id
    assert find(old.id).meta.id == old.id
    attached = Job(find("b"))
    assert sorted(attached.results().rows()) == expected_totals()
    with pytest.raises(JobError, match="'c'"):
        find("c")


def test_an_attached_client_can_end_a_job(start):
    job = start(rows(slow), "mine")
    eventually(lambda: has_rows(job), "rows arrive")
    assert Job(find("mine")).stop() == "stopped"
    assert job.status == "stopped"


def test_old_folders_are_swept_and_running_jobs_are_not(start):
    ended = []
    for n in range(2):
        ended.append(start(totals(), f"ended {n}"))
        ended[-1].wait(60)
    running = start(rows(slow), "running")
    assert [job.id for job in sweep(keep=1)[0]] == [ended[0].id]
    assert [h.meta.id for h in list_jobs()] == [ended[1].id, running.id]
    assert [job.id for job in sweep(keep=0)[0]] == [ended[1].id]
    assert running.status != "failed"


def test_what_cannot_be_sent_to_workers_is_refused_at_start(start):
    lock = threading.Lock()
    with pytest.raises(PlanError, match=r"mine: .*variable 'lock'"):
        start(rows(lambda frame: (lock, frame)[1]))
    assert list_jobs() == []


def test_a_slow_step_holds_back_what_comes_before_it(start):
    job = start(totals(total=ENDLESS, batch=10), channel_batches=4)
    eventually(lambda: job.report().rows_in > 10_000, "rows arrive")
    queued = []

    def observed() -> bool:
        queued.append(job.metrics()["queued_batches"].max())
        return len(queued) > 20

    eventually(observed, "some reports")
    # Two senders with four batches each, and one batch beyond the credit from a step that splits its output.
    assert max(queued) <= 2 * (4 + 1)


def test_times_of_a_task_add_up(start):
    job = start(rows(slow))
    eventually(lambda: job.metrics().height and job.metrics()["busy_ms_per_s"].min() > 0, "rates of both subtasks")
    times = job.metrics().select(pl.sum_horizontal("busy_ms_per_s", "idle_ms_per_s", "backpressured_ms_per_s"))
    assert times.to_series().is_between(999, 1001).all()
    eventually(lambda: job.metrics()["busy_ms_per_s"].max() > 500, "a busy task")
    eventually(lambda: job.report().latency_p99_ms is not None, "latency")
    assert 0 <= job.report().latency_p50_ms <= job.report().latency_p99_ms


def test_messages_from_strangers_change_nothing(start):
    job = start(totals(slow, total=ENDLESS))
    eventually(lambda: has_rows(job), "rows arrive")
    with zmq.Context() as context:
        for worker in range(2):
            with context.socket(zmq.PUSH) as socket:
                socket.connect(f"ipc://{job._handle.meta.sockets}/1-{worker}")
                for parts in ([b"junk"], [b"x" * 16, b"y"], [b"x" * 16, b"y", b"z" * 1000]):
                    socket.send_multipart(parts)
    before = job.report().rows_in
    eventually(lambda: job.report().rows_in > before, "rows go on")
    assert job.stop() == "stopped"
    assert job.results()["rows"].sum() == job.report().rows_in


def test_a_job_shows_itself(start):
    job = start(totals(), "<b>mine<i>")
    job.wait(60)
    assert repr(job).startswith(f"<Job '<b>mine<i>' ({job.id}): finished, rows in 2,000 of 2,000")
    page = job._repr_html_()
    assert "&lt;b&gt;mine&lt;i&gt;" in page
    assert "<b>mine" not in page


def test_what_a_chatty_function_prints_is_kept_in_part(start):
    job = start(rows(never_stops_talking))
    folder = job._handle.folder
    earlier = [folder.worker_log(worker).with_suffix(".earlier") for worker in range(2)]
    eventually(lambda: all(path.exists() for path in earlier), "the logs are emptied")
    job.cancel()
    assert all(0 < path.stat().st_size <= LOG_BYTES for path in earlier)
    assert "on and on" in job.log()
