"""Sources that had come to their end at a checkpoint: a job that goes on from there reads nothing more of them.

All that waits for the end of such a source has happened: every window has fired. Rows that came after would be late,
so they are not read (Flink: finished operators are restored as finished, FLIP-147), and a job that would silently leave
them out, or be over at once although its source never ends, is refused here.
"""

from __future__ import annotations

from contextlib import suppress

from streamlab.connectors.contracts.source import Source
from streamlab.core.errors import SourceError, explained
from streamlab.graph.job_graph import JobGraph
from streamlab.job.history.restoring import refused
from streamlab.state.checkpoints.manifest import Manifest

_SHOWN = 3


def check_goes_on(manifest: Manifest, graph: JobGraph) -> None:
    """Raise CheckpointError if a source has, or will have, more to give than would be read."""
    going_on = {task.vertex for task in manifest.tasks if not task.finished}
    ended = {task.vertex for task in manifest.tasks} - going_on
    for vertex in graph.vertices:
        source = vertex.source
        if source is None or vertex.id not in ended:
            continue
        if not source.bounded:
            text = explained(
                "from_savepoint",
                needed=f"a checkpoint from which {vertex.id!r} can go on",
                got="one that was taken when it had been stopped and drained: every window has fired",
                hint="take one before that, job.checkpoints[…]; to go on later, stop() without drain=True",
            )
            raise refused(text, manifest)
        new = _new_splits(source, {split.id for split in manifest.splits.get(vertex.id, ())})
        if new:
            more = f" and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
            text = explained(
                "from_savepoint",
                needed=f"no more input of {vertex.id!r}, which had come to its end: every window has fired",
                got=f"{', '.join(new[:_SHOWN])}{more}",
                hint="read it in a job of its own, or keep a source open from the start: follow=True",
            )
            raise refused(text, manifest)


def _new_splits(source: Source, known: set[str]) -> list[str]:
    """Return what the source has to give besides; nothing when that cannot be told, since nobody would read it."""
    with suppress(SourceError):
        return [split.id for split in source.resumed(source.splits(), known) if split.id not in known]
    return []
