"""Every test here runs jobs in a home of its own, and must leave nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from home_processes import processes_of
from patience import eventually

from streamlab.core.options import JobOptions
from streamlab.graph.job_graph import JobGraph
from streamlab.job import local_runner
from streamlab.job.job import Job
from streamlab.runtime.client.client import launch


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test a home and a place for sockets of its own, and check that nothing of its jobs is left."""
    path = tmp_path / "home"
    sockets = Path(tempfile.mkdtemp(prefix="sl", dir="/tmp"))
    monkeypatch.setenv("STREAMLAB_HOME", str(path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sockets))
    # Whoever looks at a job that has lost its processes ends it; here only the test looks.
    monkeypatch.setattr(local_runner, "sweep_later", lambda: None)
    try:
        yield path
        eventually(lambda: not processes_of(path), lambda: f"the end of {processes_of(path)}")
        assert list(sockets.glob("streamlab/*")) == []
        assert list(path.glob("jobs/*/.*")) == []
    finally:
        for line in processes_of(path):
            psutil.Process(int(line.split()[0])).kill()
        shutil.rmtree(sockets, ignore_errors=True)


Start = Callable[..., Job]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a job; it is cancelled at the end of the test if it still runs."""
    jobs: list[Job] = []

    def start_job(graph: JobGraph, name: str = "job", **options: object) -> Job:
        jobs.append(Job(launch(graph, JobOptions(name=name, **options), plan="the plan")))
        return jobs[-1]

    yield start_job
    for job in jobs:
        job.cancel()
