"""What it costs a job at full speed that somebody looks at all of it, as processor time of its processes.

Processor time, unlike the time on the clock, hardly depends on what else the machine does.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import polars as pl
from bench_queries import Query

import streamlab as sl

ROUNDS = 5
_LOOKS_PER_S = 5


def _nothing(batch: pl.DataFrame) -> None:
    """Take rows and do nothing."""


def watching_cost(folder: Path, query: Query, workers: int) -> float:
    """Return how much more processor time a job takes while it is watched, as a fraction: medians of runs in turn."""
    alone, watched = [], []
    for _ in range(ROUNDS):
        alone.append(_processor_s(lambda: _run(folder, query, workers, looks=False)))
        watched.append(_processor_s(lambda: _run(folder, query, workers, looks=True)))
    return median(watched) / median(alone) - 1


def _processor_s(run: Callable[[], None]) -> float:
    """Return the processor time of the processes that were started and have ended meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(folder: Path, query: Query, workers: int, *, looks: bool) -> None:
    frame = sl.scan_parquet(folder, event_time="at", watermark="5s")
    job = query.streamlab(frame).sink_batches(_nothing, update_before=False, parallelism=workers)
    feed = job.history_feed()
    while looks and not job.status.is_final:
        job.report()
        job.splits()
        job.newest_panes()
        job.lateness()
        job.diagnosis()
        feed.read_new()
        time.sleep(1 / _LOOKS_PER_S)
    job.wait(600)
    if job.exception is not None:
        raise job.exception
