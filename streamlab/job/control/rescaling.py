"""Another parallelism for a running job: the query is cut anew, and the job goes on from a checkpoint."""

from __future__ import annotations

import secrets

from streamlab.core.errors import JobError, OptionError, explained
from streamlab.graph.lowering import lower
from streamlab.job.control.savepoints import check_checkpointing
from streamlab.observe.status import JobState, JobStatus
from streamlab.plan import nodes
from streamlab.runtime.client.client import JobHandle, layout_of
from streamlab.runtime.messages.protocol import RescaleRequested
from streamlab.runtime.process.pickling import pickled_graph

_FAILED = ("failed", "abandoned")


def rescale(handle: JobHandle, parallelism: int, timeout_s: float | None) -> None:
    """Have a job go on with another number of subtasks, and wait until it does; see :meth:`Job.rescale`."""
    step = f"rescale of job {handle.meta.name}"
    if not isinstance(parallelism, int) or isinstance(parallelism, bool) or parallelism < 1:
        raise OptionError(explained(step, needed="a number of subtasks, at least 1", got=repr(parallelism)))
    check_checkpointing(handle, step)
    query: nodes.Write = handle.folder.understand_query()
    graph = lower(query, parallelism)
    file = f"graph-{secrets.token_hex(4)}.pickle"
    handle.folder.write_graph(pickled_graph(graph), file)
    layout = layout_of(graph, parallelism, file)
    handle.folder.write_layout(layout)
    before = handle.status()
    token = secrets.token_hex(8)
    handle.request(RescaleRequested(parallelism, layout.vertices, file, token, layout.steps))

    def failure(status: JobStatus) -> str:
        taken = next((c for c in reversed(status.checkpoints) if c.request == token), None)
        return f"{taken.reason} (checkpoint {taken.id})" if taken is not None and taken.state in _FAILED else ""

    def is_over(status: JobStatus) -> bool:
        # The wish is on record from the answer on, until an attempt is that runs what was wished.
        return status.rescale != file and status.state not in {JobState.STARTING, JobState.RESTARTING}

    def is_done(status: JobStatus) -> bool:
        return is_over(status) and status.attempt > before.attempt and status.parallelism == parallelism

    # A checkpoint for it that failed does not end the wish when that is on record: another coordinator carries it out.
    handle.wait_until(is_over, timeout_s)
    status = handle.status()
    if not is_done(status) or status.state == JobState.FAILED:
        got = failure(status) or f"one that is {status.state} with {status.parallelism}"
        raise JobError(explained(step, needed="the job to run again with them", got=got))
