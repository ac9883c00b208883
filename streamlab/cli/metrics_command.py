"""``streamlab metrics``: the figures of jobs for Prometheus, as a text or as an endpoint until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from streamlab.job import Job, jobs
from streamlab.job.figures.access_token import kept_token
from streamlab.job.figures.metrics_server import MetricsServer
from streamlab.observe.status import JobStatus


def statuses_of(job: Job | None) -> Callable[[], Sequence[JobStatus]]:
    """Return what gives the status of one job at each scrape, or of all jobs that run then."""
    if job is not None:
        return lambda: [job.report()]
    return lambda: [status for status in (one.report() for one in jobs()) if not status.state.is_final]


def serve(console: Console, statuses: Callable[[], Sequence[JobStatus]], port: int, token_file: Path | None) -> None:
    """Serve figures until interrupted. Raises OptionError when the port is taken, or the token file is no good."""
    token = None if token_file is None else kept_token(token_file)
    with MetricsServer(statuses, port, token) as server:
        console.print(f"Prometheus: {server.url}\nCtrl-C ends it; jobs go on.", soft_wrap=True, markup=False)
        server.wait()
