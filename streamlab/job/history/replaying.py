"""A job once more, from one of its checkpoints: the same rows from the same positions, into a table of its own."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import polars as pl

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.contracts.timing import Pace, pace_factor
from streamlab.connectors.reading.finished_splits import FinishedIds
from streamlab.connectors.recording.recording import scan_recording
from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import JobError, OptionError, explained
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, show_us
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, MAIN
from streamlab.graph.explain import explain_graph
from streamlab.graph.job_graph import JobGraph
from streamlab.graph.lowering import lower
from streamlab.graph.repeatable import has_turns, same_inputs
from streamlab.job.history.checkpoints import Checkpoints
from streamlab.job.history.points_in_time import PointInTime, read_time
from streamlab.job.history.restoring import check_fits, pinned
from streamlab.plan import nodes
from streamlab.runtime.client.client import JobHandle, launch
from streamlab.runtime.job_folder.attempts import read_attempts
from streamlab.runtime.job_folder.folder import CheckpointPlace, JobFolder, Replayed
from streamlab.runtime.process.pickling import pickled_query
from streamlab.runtime.tables.record_log import LogWriter
from streamlab.runtime.tables.results import ResultTable
from streamlab.runtime.tables.table_reader import TableReader, read_side_rows
from streamlab.runtime.task.task_states import restored_reader
from streamlab.runtime.worker.deployment import keep_notes, recording_folder
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore

_SEED = "seed"
_BEFORE_ALL = -1
"""Epoch of rows that no restart withdraws."""
_SIDE = (LATE_ROWS, DEAD_LETTERS)
Until = int | Literal["end"] | str | dt.datetime | dt.date
"""Where a replay ends: at a checkpoint, at the end of the sources, or at an event time."""


def replay(
    handle: JobHandle,
    checkpoint_id: int,
    *,
    until: Until,
    pace: Pace,
    changed: nodes.Node | None,
    name: str | None,
    side_effects: bool,
    paused: bool,
) -> JobHandle:
    """Start a job that goes on from a checkpoint of another job; see :meth:`Job.replay`."""
    step = f"replay of job {handle.meta.name}"
    query: nodes.Write = handle.folder.understand_query()
    plan = query.input if changed is None else changed
    sink = query.sink if side_effects else _table(plan)
    store = ManifestStore(handle.folder.checkpoint_blobs())
    with store.pin(checkpoint_id) as manifest:
        attempt = next((one for one in read_attempts(handle.folder.results) if one.number == manifest.attempt), None)
        if attempt is None:
            text = explained(step, needed=f"attempt {manifest.attempt} on record", got="none")
            raise JobError(text)
        target = nodes.Write(input=plan, sink=sink, step=sink.name, schema=plan.schema)
        if changed is not None:
            target = pinned(target, manifest)
        graph = lower(target, attempt.layout.parallelism)
        repeats = _repeated(graph, query, attempt.layout.parallelism)
        in_order = any(has_turns(graph, graph.vertex(vertex)) for vertex in repeats)
        graph = _again(graph, handle.folder, pace)
        check_fits(manifest, graph, allow_non_restored_state=False)
        goal = _goal(step, handle, until, checkpoint_id)
        if goal == "end" and not paused and not all(v.source.bounded for v in graph.vertices if v.source is not None):
            needed = "a checkpoint to replay to, or a time, since the sources never end"
            hint = "until=job.checkpoint().id, an event time, or paused=True and steps"
            raise OptionError(explained(step, needed=needed, got="until='end'", hint=hint))
        if isinstance(goal, PointInTime):
            _check_time(step, goal, graph, manifest)
        options = replace(
            handle.meta.options,
            name=f"{handle.meta.name}-replay-{secrets.token_hex(2)}" if name is None else name,
            parallelism=attempt.layout.parallelism,
            keep_rows=None,
            detach=False,
            paused=bool(paused),
            checkpoint_store=None,
        )
        location = handle.folder.checkpoint_location()
        seeds = isinstance(sink, ResultTable) and plan.schema == query.input.schema
        return launch(
            graph,
            options,
            plan=explain_graph(graph),
            query=target,
            origin=CheckpointPlace(location, checkpoint_id),
            until=CheckpointPlace(location, goal) if isinstance(goal, int) else None,
            until_us=goal.us if isinstance(goal, PointInTime) else None,
            replayed=Replayed(str(handle.folder.path), checkpoint_id, repeats, in_order),
            prepare=_preparing(handle, checkpoint_id, updating=query.input.updating, seeds=seeds),
        )


def _goal(step: str, handle: JobHandle, until: Until, checkpoint_id: int) -> int | PointInTime | Literal["end"]:
    """Return where a replay is to end: the id of a checkpoint, a time, or the end of the sources."""
    if isinstance(until, str) and until == "end":
        return "end"
    point = read_time(until)
    if point is not None:
        return point
    if isinstance(until, str):
        needed = "the id of a complete checkpoint, 'end', or a time such as '2013-01-01 12:00' as until="
        raise OptionError(explained(step, needed=needed, got=repr(until)))
    known = Checkpoints(handle.status().checkpoints, handle.folder.checkpoint_blobs()).id_of(until)
    if known < checkpoint_id:
        got = f"until={known} and checkpoint {checkpoint_id}"
        raise OptionError(explained(step, needed="until= to be a later checkpoint", got=got))
    return known


def _check_time(step: str, until: PointInTime, graph: JobGraph, manifest: Manifest) -> None:
    """Check that all sources tell the time, and have not reached this one at the checkpoint."""
    sources = [(vertex.id, vertex.source) for vertex in graph.vertices if vertex.source is not None]
    for _, source in sources:
        if source.timing.event_time is None or source.timing.watermark is None:
            needed = "an event time and a watermark of every source, to end at a time"
            hint = "until= the id of a later checkpoint, or give it event_time= and watermark="
            raise OptionError(explained(step, needed=needed, got=f"{source.name!r} without", hint=hint))
    zoned = any(_has_zone(source) for _, source in sources)
    if until.has_zone and not zoned:
        needed = "until= to be a time without a zone, since event times have none"
        raise OptionError(explained(step, needed=needed, got=f"one with, {show_us(until.us)} in UTC"))
    watermark_us = min((_watermark_at(manifest, vertex, source) for vertex, source in sources), default=MIN_TIME_US)
    if until.us <= watermark_us:
        needed = f"until= to be later than the watermark at checkpoint {manifest.id}, {show_us(watermark_us)}"
        hint = "replay from an earlier checkpoint"
        raise OptionError(explained(step, needed=needed, got=show_us(until.us), hint=hint))


def _has_zone(source: Source) -> bool:
    dtype = source.schema[source.timing.event_time or ""]
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None


def _watermark_at(manifest: Manifest, vertex: str, source: Source) -> int:
    """Return how far a source was at a checkpoint; the maximum when it had ended."""
    snapshot = restored_reader(manifest, vertex)
    running = [split.watermark_us for split in snapshot.splits.values() if not split.finished]
    finished = FinishedIds(snapshot.finished)
    unread = (split for split in manifest.splits.get(vertex, ()) if split.id not in snapshot.splits)
    fresh = [split.min_time_us for split in unread if split.id not in finished]
    known = [*running, *(MIN_TIME_US if us is None else us for us in fresh)]
    ended = snapshot.splits and not source.discovers
    return max(snapshot.watermark_us, min(known, default=MAX_TIME_US if ended else MIN_TIME_US))


def table_before(handle: JobHandle, checkpoint_id: int) -> pl.DataFrame:
    """Return the changes of a job's result table that belong to a checkpoint, with row kinds."""
    return TableReader(handle.folder.results).changelog(before=checkpoint_id)


def _preparing(handle: JobHandle, checkpoint_id: int, *, updating: bool, seeds: bool) -> Callable[[JobFolder], None]:
    """Return what gives a new job the job's notes, and its tables as they stood at the checkpoint if it has them."""

    def prepare(folder: JobFolder) -> None:
        keep_notes(handle.folder.path, folder.path, checkpoint_id)
        if not seeds:
            return
        table = table_before(handle, checkpoint_id)
        tables = {tag: read_side_rows(handle.folder.results, tag, before=checkpoint_id) for tag in _SIDE}
        tables[MAIN] = [table if updating else table.drop(ROW_KIND)]
        for tag, frames in tables.items():
            if any(frame.height for frame in frames):
                log = LogWriter(folder.results / tag, _SEED, 0)
                for frame in frames:
                    log.append(frame, epoch=_BEFORE_ALL)
                log.close()

    return prepare


def _table(plan: nodes.Node) -> ResultTable:
    return ResultTable("results", plan.schema, plan.row_key if plan.updating else None)


def _repeated(graph: JobGraph, query: nodes.Write, parallelism: int) -> tuple[str, ...]:
    """Return the vertices of a replay that get the same from their inputs as in the job that ran the query.

    The names of other steps say nothing, so the original's query is written to the same kind of table.
    """
    return same_inputs(graph, lower(query, parallelism), pickled_query)


def _again(graph: JobGraph, folder: JobFolder, pace: Pace) -> JobGraph:
    """Return the graph with sources that read what the job read, at another pace."""

    def source(vertex_id: str, given: Source) -> Source:
        if not given.replayable:
            recorded = scan_recording(recording_folder(folder.path, vertex_id))
            given = replace(recorded, name=given.name, timing=given.timing)
        return given.at_pace(pace_factor(pace))

    vertices = (
        vertex if vertex.source is None else replace(vertex, source=source(vertex.id, vertex.source))
        for vertex in graph.vertices
    )
    return replace(graph, vertices=tuple(vertices))
