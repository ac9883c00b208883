"""Whether a query can go on from a checkpoint, before a job is started."""

from __future__ import annotations

from streamlab.core.errors import CheckpointError, explained
from streamlab.graph.job_graph import JobGraph
from streamlab.state.checkpoints.manifest import Manifest


def check_fits(manifest: Manifest, graph: JobGraph, *, allow_non_restored_state: bool) -> None:
    """Raise CheckpointError unless every state and every source's position has a place in the graph."""
    steps = {spec.step for vertex in graph.vertices for spec in vertex.operators}
    sources = {vertex.id for vertex in graph.vertices if vertex.source is not None}
    lost = {
        step
        for task in manifest.tasks
        for step, state in task.operators.items()
        if step not in steps and any(file.rows for frames in state.keyed.values() for file in frames)
    }
    lost |= {vertex for vertex, splits in manifest.splits.items() if splits and vertex not in sources}
    if lost and not allow_non_restored_state:
        text = explained(
            "from_savepoint",
            needed=f"a step of the query for each state; steps: {', '.join(sorted(steps | sources))}",
            got=f"state of {', '.join(map(repr, sorted(lost)))}, which the query does not have",
            hint="name steps as they were, .named(…), or leave that state out: allow_non_restored_state=True",
        )
        raise CheckpointError(text, file=f"checkpoint {manifest.id}", matter="refused")
