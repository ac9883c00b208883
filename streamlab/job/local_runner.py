"""Runs the plans of StreamFrames as jobs on this machine."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

import polars as pl

from streamlab.connectors.contracts.sink import Sink
from streamlab.connectors.files.paths import warn_of_strangers
from streamlab.core.errors import OptionError, explained
from streamlab.core.event_time.time import Duration
from streamlab.core.options import JobOptions, default_parallelism
from streamlab.frame.runner import Collected, RunOptions
from streamlab.graph.explain import explain_graph
from streamlab.graph.job_graph import JobGraph
from streamlab.graph.lowering import lower
from streamlab.job.control.saving import check_live_sources, taking_up
from streamlab.job.history.ended_sources import check_goes_on
from streamlab.job.history.places import check_shared, checkpoint_store
from streamlab.job.history.restoring import check_fits, pinned
from streamlab.job.job import Job
from streamlab.job.row_stream import discard, far_ahead, stream_rows
from streamlab.plan import nodes
from streamlab.plan.explain import explain_plan
from streamlab.runtime.client.client import JobHandle, launch
from streamlab.runtime.client.sweeping import sweep_later
from streamlab.runtime.job_folder.folder import CheckpointPlace
from streamlab.runtime.tables.results import ResultTable
from streamlab.state.checkpoints.savepoints import find_savepoint
from streamlab.state.snapshot import KEY_GROUPS

_OWN_OPTIONS = frozenset({"name", "parallelism", "keep_rows", "detach", "paused", "checkpoint_every_ms"})
_OTHER_NAMES = {"checkpoint_interval": "checkpoint_every", "checkpointing_interval": "checkpoint_every"}
"""What other libraries call an option."""
_FEW_ROWS = 10_000
"""Rows of a source that one process is through with before a second one would be there."""
_MAY_BE_ZERO = frozenset({"max_restarts", "restart_delay_ms"})
_MAY_BE_NONE = frozenset({"recording_limit_ms"})
_MORE_OPTIONS = tuple(f.name for f in dataclasses.fields(JobOptions) if f.name not in _OWN_OPTIONS)


class LocalRunner:
    """The runner of all frames; satisfies :class:`streamlab.frame.runner.Runner`."""

    def run(self, plan: nodes.Node, options: RunOptions, sink: Sink | None = None) -> Job:
        """Start a job in processes of its own and return at once; without a sink its rows go to a result table."""
        return Job(self._launch(plan, options, sink), self)

    def collect(self, plan: nodes.Node, options: RunOptions) -> Collected:
        """Run a bounded plan to its end and return what it came to; nothing of the job is left."""
        handle = self._launch(plan, _for_an_answer(plan, options))
        try:
            job = Job(handle)
            job.wait()
            return Collected(job.results(), job.dead_letters(), far_ahead(job))
        finally:
            discard(handle)

    def stream(self, plan: nodes.Node, options: RunOptions, timeout_s: float | None = None) -> Iterator[pl.DataFrame]:
        """Yield rows as they come; the job starts with the first step of the loop and ends with the loop."""
        table = _table(plan, None, has_update_before=True)
        yield from stream_rows(self._launch(plan, options, table), timeout_s)

    def explain(self, plan: nodes.Node, parallelism: int | None) -> str:
        """Return the text of the job graph that would run."""
        return explain_graph(_graph(plan, _table(plan, None), _subtasks(parallelism)))

    def _launch(self, plan: nodes.Node, options: RunOptions, sink: Sink | None = None) -> JobHandle:
        job_options = _job_options(plan, options)
        target = sink or _table(plan, job_options.keep_rows)
        query = nodes.Write(input=plan, sink=target, step=target.name, schema=plan.schema)
        origin = prepare = None
        if options.from_savepoint is None:
            graph = lower(query, job_options.parallelism)
        else:
            check_shared("from_savepoint", options.from_savepoint)
            location, manifest = find_savepoint(options.from_savepoint)
            warn_of_strangers("from_savepoint", location, f"{location}/checkpoints/{manifest.id:04d}")
            query = pinned(query, manifest)
            graph = lower(query, job_options.parallelism)
            check_fits(manifest, graph, allow_non_restored_state=options.allow_non_restored_state)
            check_goes_on(manifest, graph)
            records = job_options.checkpoint_every_ms is not None
            check_live_sources(location, manifest, graph, takes_checkpoints=records)
            origin, prepare = CheckpointPlace(location, manifest.id), taking_up(location, manifest)
        text = f"{explain_plan(query.input)}\n\n{explain_graph(graph)}"
        handle = launch(graph, job_options, plan=text, query=query, origin=origin, prepare=prepare)
        sweep_later()
        return handle


def _for_an_answer(plan: nodes.Node, options: RunOptions) -> RunOptions:
    """Return the options of a job that somebody waits for: with a few rows a second process costs more than it gains.

    Functions of the user's may take long over each of them.
    """
    rows = [node.source.rows for node in plan.walk() if isinstance(node, nodes.Scan)]
    if options.parallelism is not None or any(number is None or number > _FEW_ROWS for number in rows):
        return options
    graph = _graph(plan, _table(plan, None), 1)
    is_slow = any(operator.is_user_code for vertex in graph.vertices for operator in vertex.operators)
    return options if is_slow else dataclasses.replace(options, parallelism=1)


def _subtasks(parallelism: int | None) -> int:
    if parallelism is None:
        return default_parallelism()
    if not isinstance(parallelism, int) or isinstance(parallelism, bool) or not 1 <= parallelism <= KEY_GROUPS:
        needed = f"a number of subtasks from 1 to {KEY_GROUPS}"
        raise OptionError(explained("parallelism", needed=needed, got=repr(parallelism)))
    return parallelism


def _table(plan: nodes.Node, keep_rows: int | None, *, has_update_before: bool = False) -> ResultTable:
    keys = plan.row_key if plan.updating else None
    return ResultTable("results", plan.schema, keys, None if plan.updating else keep_rows, has_update_before)


def _graph(plan: nodes.Node, sink: Sink, parallelism: int) -> JobGraph:
    return lower(nodes.Write(input=plan, sink=sink, step=sink.name, schema=plan.schema), parallelism)


def _job_options(plan: nodes.Node, options: RunOptions) -> JobOptions:
    more = _checked(dict(options.more))
    keep_rows = options.keep_rows
    if keep_rows == "auto":
        keep_rows = None if plan.bounded else JobOptions.keep_rows
    return JobOptions(
        name=f"job-{secrets.token_hex(3)}" if options.name is None else options.name,
        parallelism=_subtasks(options.parallelism),
        keep_rows=keep_rows,
        detach=options.detach,
        paused=options.paused,
        checkpoint_every_ms=options.checkpoint_every_ms,
        **more,
    )


def _checked(more: dict[str, Any]) -> dict[str, Any]:
    """Return further options if there are such and their values can be."""
    for name, value in more.items():
        if name not in _MORE_OPTIONS:
            known = [*_MORE_OPTIONS, *(field.name for field in dataclasses.fields(RunOptions) if field.name != "more")]
            near = get_close_matches(_OTHER_NAMES.get(name, name), ["checkpoint_every", *known], 1)
            hint = f"did you mean {near[0]!r}?" if near else ""
            needed = f"one of {', '.join(_MORE_OPTIONS)}"
            raise OptionError(explained("options", needed=needed, got=repr(name), hint=hint))
        if name == "on_error":
            if value not in {"fail", "dead_letter"}:
                raise OptionError(explained(name, needed="'fail' or 'dead_letter'", got=repr(value)))
        elif name == "checkpoint_store":
            more = {**more, name: checkpoint_store(value)}
        elif value is not None or name not in _MAY_BE_NONE:
            least = 0 if name in _MAY_BE_ZERO else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise OptionError(
                    explained(
                        name, needed=f"a whole number, at least {least}", got=repr(value), hint=_in_ms(name, value)
                    )
                )
    return more


def _in_ms(name: str, value: object) -> str:
    """Return how a duration is given as the number of milliseconds that an option takes."""
    if not name.endswith("_ms") or not isinstance(value, str | timedelta):
        return ""
    with suppress(OptionError):
        us = Duration.parse(value).fixed_us(name)
        return f"it is a number of milliseconds: {name}={us // 1000}" if us > 0 else ""
    return ""
