"""The figures of a job, made of those of its tasks, or of what a checkpoint says of them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streamlab.observe.status import TaskStatus
from streamlab.runtime.messages.protocol import VertexLayout
from streamlab.state.checkpoints.manifest import Manifest

TaskKey = tuple[str, int]


def job_figures(tasks: Mapping[TaskKey, TaskStatus], vertices: Sequence[VertexLayout]) -> dict[str, Any]:
    """Return the fields of a `JobStatus` that come from its tasks, which are sorted into the order of the graph."""
    order = {vertex.id: at for at, vertex in enumerate(vertices)}
    sorted_tasks = tuple(tasks[key] for key in sorted(tasks, key=lambda key: (order[key[0]], key[1])))
    sources = [task for task in sorted_tasks if vertices[order[task.vertex]].is_source]
    sinks = [task for task in sorted_tasks if vertices[order[task.vertex]].is_sink]
    subtasks = sum(vertex.parallelism for vertex in vertices if vertex.is_source)
    watermarks = [task.watermark_us for task in sorted_tasks if task.watermark_us is not None]
    return {
        "tasks": sorted_tasks,
        "rows_in": sum(task.rows_in for task in sources),
        "rows_out": sum(task.rows_out for task in sinks),
        "bytes_read": sum(task.bytes_read for task in sources) if len(sources) == subtasks else None,
        "late_rows": sum(task.late_rows for task in sorted_tasks),
        "merged_late_rows": sum(task.merged_late_rows for task in sorted_tasks),
        "dead_letters": sum(task.dead_letters for task in sorted_tasks),
        "rows_dropped": sum(task.rows_dropped for task in sinks),
        "rows_in_per_s": sum(task.rows_in_per_s for task in sources),
        "rows_out_per_s": sum(task.rows_out_per_s for task in sinks),
        "watermark_us": min(watermarks, default=None),
        "latency_p50_ms": max((t.latency_p50_ms for t in sinks if t.latency_p50_ms is not None), default=None),
        "latency_p99_ms": max((t.latency_p99_ms for t in sinks if t.latency_p99_ms is not None), default=None),
        "state_bytes": sum(task.state_bytes for task in sorted_tasks),
    }


def counted_figures(manifest: Manifest, tasks: Mapping[TaskKey, TaskStatus]) -> dict[TaskKey, TaskStatus]:
    """Return what tasks have reported, with what they had counted at a checkpoint: of a job that ends there, all."""
    counted = {(task.vertex, task.subtask): task.counters for task in manifest.tasks}
    return {key: msgspec.structs.replace(task, **counted.get(key, {})) for key, task in tasks.items()}


def restored_figures(manifest: Manifest, vertices: Mapping[str, VertexLayout]) -> dict[TaskKey, TaskStatus]:
    """Return what tasks had counted at a checkpoint, to be shown until they report themselves.

    With fewer subtasks than before, the figures of several go to one: the one that inherits them.
    """
    counted: dict[tuple[str, int], Counter[str]] = {}
    for task in manifest.tasks:
        if task.vertex in vertices:
            heir = task.vertex, task.subtask % vertices[task.vertex].parallelism
            counted.setdefault(heir, Counter()).update(task.counters)
    return {
        (vertex, subtask): msgspec.convert(
            {**counters, "vertex": vertex, "subtask": subtask, "steps": vertices[vertex].steps}, TaskStatus
        )
        for (vertex, subtask), counters in counted.items()
    }
