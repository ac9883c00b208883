"""A user's function that forks, or breaks its process: no second worker, no row twice, and an end with a reason."""

from __future__ import annotations

import cluster_jobs
import forking_functions
import pytest
from cluster_jobs import rows

from streamlab.core.errors import StepFailed, WorkerLost

FORKING = (
    "forgets_to_exit",
    "child_exits",
    "child_raises",
    "child_closes_descriptors",
    "child_gets_a_terminal",
    "forks_in_c",
    "forks_in_a_thread",
    "forks_in_an_expression",
    "has_a_pool",
    "ignores_signals",
)


@pytest.mark.parametrize("function", FORKING)
def test_a_child_that_a_function_forks_never_works_as_a_worker(start, function):
    job = start(rows(getattr(forking_functions, function), total=500), checkpoint_every_ms=1_000, max_restarts=0)
    job.wait(60)
    assert job.status == "finished"
    assert sorted(job.results()["v"]) == sorted(2 * [*range(500)])


@pytest.mark.parametrize(
    ("function", "kind", "says"),
    [
        ("closes_descriptors", WorkerLost, "mine: .* closed descriptors that it had not opened"),
        ("takes_over_descriptors", WorkerLost, "mine: .* closed descriptors that it had not opened"),
        ("is_raised_in_by_signals", StepFailed, "from a handler"),
    ],
)
def test_what_a_function_breaks_in_its_worker_ends_the_job_within_its_restarts(start, function, kind, says):
    job = start(
        cluster_jobs.rows(getattr(forking_functions, function), total=500), checkpoint_every_ms=1_000, max_restarts=1
    )
    with pytest.raises(kind, match=says):
        job.wait(60)
    assert job.status == "failed"
    assert job.report().attempt == 2
