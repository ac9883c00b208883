"""Whether a query can go on from a checkpoint, and as what, before a job is started.

State goes to the step of the same name. Steps that are alike have one name and a number, so what each of them was fed
by must tell them apart; where it does not, nothing is guessed. State that a step cannot use is refused here, with both
forms shown, rather than found out by a worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import polars as pl

from streamlab.core.errors import CheckpointError, explained
from streamlab.graph.job_graph import JobGraph, Vertex
from streamlab.plan import nodes
from streamlab.plan.explain import path_digest
from streamlab.plan.rewrite import with_pins
from streamlab.plan.step_names import base_name
from streamlab.state.checkpoints.former_formats import step_as_now
from streamlab.state.checkpoints.manifest import Manifest, StoredStep
from streamlab.state.checkpoints.stored_forms import form_of
from streamlab.state.forms import Fact, comparison, differing_facts

_STEP = "from_savepoint"
_LEAVE_OUT = "leave that state out: allow_non_restored_state=True"
Differences = list[tuple[str, Fact | None, Fact | None]]


def pinned(plan: nodes.Write, manifest: Manifest) -> nodes.Write:
    """Return the query with steps called as in the checkpoint, where numbers tell steps that are alike apart.

    Raises
    ------
    CheckpointError
        If it cannot be told which of several steps some state belongs to.
    """
    news: dict[str, list[nodes.Node]] = defaultdict(list)
    for node in plan.walk():
        if node.keeps_state:
            news[base_name(node)].append(node)
    olds: dict[str, list[StoredStep]] = defaultdict(list)
    pins: dict[int, str] = {}
    for step in manifest.steps:
        if step.name != step.base and len(news.get(step.name, ())) == 1:
            # Somebody has written the number into the name: that is the answer.
            pins[id(news.pop(step.name)[0])] = step.name
        else:
            olds[step.base].append(step)
    for base in news.keys() & olds.keys():
        pins |= _told_apart(base, news[base], olds[base], manifest)
    return replace(plan, input=with_pins(plan.input, pins))


def check_fits(manifest: Manifest, graph: JobGraph, *, allow_non_restored_state: bool) -> None:
    """Raise CheckpointError unless every state and every source's position has a step that can go on with it."""
    wanted = {step.name: step for step in graph.steps}
    stored = {step.name: step for step in manifest.steps}
    for name in stored.keys() & wanted.keys():
        differences = _differences(stored[name], wanted[name], manifest)
        if differences:
            raise _misfit(stored[name], differences, manifest)
    _check_ends(manifest, graph)
    lost = _lost(manifest, graph)
    if lost and not allow_non_restored_state:
        raise _homeless(lost, stored, wanted, manifest, graph)


def _told_apart(base: str, news: list[nodes.Node], olds: list[StoredStep], manifest: Manifest) -> dict[int, str]:
    """Return what each of some steps that are alike is called in the checkpoint."""
    pins: dict[int, str] = {}
    given = [node for node in news if node.is_named]
    first = [step for step in olds if step.name == base]
    if len(given) == 1 and len(news) > 1 and first:
        pins[id(given[0])] = base
        news = [node for node in news if node is not given[0]]
        olds = [step for step in olds if step is not first[0]]
    if len(news) == len(olds) == 1:
        return {**pins, id(news[0]): olds[0].name}
    paths = {id(node): path_digest(node) for node in news}
    for path in dict.fromkeys(paths.values()):
        mine = [node for node in news if paths[id(node)] == path]
        theirs = [step for step in olds if step.path == path]
        if len(mine) == len(theirs):
            pins |= {id(node): step.name for node, step in zip(mine, theirs, strict=True)}
            news = [node for node in news if node not in mine]
            olds = [step for step in olds if step not in theirs]
    if news and olds:
        names = ", ".join(repr(step.name) for step in olds)
        text = explained(
            _STEP,
            needed=f"to know which step the state of {names} belongs to",
            got=f"{_steps(len(news))} that may be called {base!r}, fed by something else than in the savepoint",
            hint="say which is which by the savepoint's names, .named('…'), and name those otherwise that begin anew",
        )
        raise refused(text, manifest)
    return pins


def _steps(number: int) -> str:
    return "one step" if number == 1 else f"{number} steps"


def _differences(stored: StoredStep, wanted: StoredStep, manifest: Manifest) -> Differences:
    same_engine = manifest.polars == pl.__version__
    found = differing_facts(form_of(step_as_now(stored, manifest.format)), form_of(wanted), same_engine=same_engine)
    if not stored.is_source:
        return found
    # Positions hold whatever columns are read besides.
    return [(name, before, after) for name, before, after in found if before is not None and name in _kept(found)]


def _kept(found: Differences) -> set[str]:
    return {name for name, _, after in found if after is not None or not name.startswith("event time")}


def _misfit(stored: StoredStep, differences: Differences, manifest: Manifest) -> CheckpointError:
    if stored.is_source:
        needed = f"{stored.name!r} to be the source that it was"
        hint = "read it from its beginning under another name, .named('…'), with allow_non_restored_state=True"
    else:
        needed = f"{stored.name!r} to keep the state that it kept"
        hint = f"begin anew under another name, .named('…'), and {_LEAVE_OUT}"
    text = explained(_STEP, needed=needed, got="another form", hint=hint)
    first, _, last = text.partition("\n")
    table = comparison(differences, "in the savepoint", "in the query")
    return refused(f"{first}\n{_indented(table)}\n{last}", manifest)


def _lost(manifest: Manifest, graph: JobGraph) -> list[str]:
    """Return the names of the state and the positions that no step of the query has."""
    steps = {spec.step for vertex in graph.vertices for spec in vertex.operators}
    sources = {vertex.id for vertex in graph.vertices if vertex.source is not None}
    heads = {step.name for step in manifest.steps if step.kind == "head"}
    lost = {
        step
        for task in manifest.tasks
        for step, state in task.operators.items()
        if step not in steps and (step in heads or any(f.rows for files in state.keyed.values() for f in files))
    }
    return sorted(lost | {vertex for vertex, splits in manifest.splits.items() if splits and vertex not in sources})


def _homeless(
    lost: list[str],
    stored: Mapping[str, StoredStep],
    wanted: Mapping[str, StoredStep],
    manifest: Manifest,
    graph: JobGraph,
) -> CheckpointError:
    steps = {spec.step for vertex in graph.vertices for spec in vertex.operators}
    sources = {vertex.id for vertex in graph.vertices if vertex.source is not None}
    text = explained(
        _STEP,
        needed=f"a step of the query for each state; steps: {', '.join(sorted(steps | sources))}",
        got=f"state of {', '.join(map(repr, lost))}, which the query does not have",
        hint=f"name steps as they were, .named({lost[0]!r}), or {_LEAVE_OUT}",
    )
    first, _, last = text.partition("\n")
    free = [step for name, step in wanted.items() if name not in stored]
    near = [_nearest(stored[name], free, manifest) for name in lost if name in stored]
    return refused("\n".join([first, *filter(None, near), last]), manifest)


def _nearest(lost: StoredStep, free: Iterable[StoredStep], manifest: Manifest) -> str:
    """Say which new step is most like one that the query does not have, and what differs."""
    alike = [step for step in free if step.kind == lost.kind]
    if not alike:
        return ""
    found = [(step, _differences(lost, step, manifest)) for step in alike]
    step, differences = min(found, key=lambda pair: len(pair[1]))
    if not differences:
        return f"  {step.name!r} keeps state of the form that {lost.name!r} had"
    table = comparison(differences, repr(lost.name), repr(step.name))
    return f"  the nearest to {lost.name!r} is {step.name!r}, which differs:\n{_indented(table)}"


def _check_ends(manifest: Manifest, graph: JobGraph) -> None:
    """Refuse new sources before steps that have ended: these take nothing any more, which nobody would notice."""
    ended = {task.vertex for task in manifest.tasks if task.finished}
    ended -= {task.vertex for task in manifest.tasks if not task.finished}
    old = {step.name for step in manifest.steps if step.vertex in ended and not step.is_source and step.kind != "head"}
    known = {step.name for step in manifest.steps}
    for vertex in graph.vertices:
        over = [spec.step for spec in vertex.operators if spec.step in old]
        new = [source for source in _sources_of(graph, vertex) if source not in known]
        if over and new:
            text = explained(
                _STEP,
                needed=f"no new source before {over[0]!r}, which had come to its end",
                got=", ".join(map(repr, new)),
                hint=f"begin anew under another name, .named('…'), and {_LEAVE_OUT}",
            )
            raise refused(text, manifest)


def _sources_of(graph: JobGraph, vertex: Vertex) -> list[str]:
    """Return the names of all sources that feed a vertex."""
    if vertex.source is not None:
        return [vertex.id]
    feeds = [graph.vertex(edge.source) for edge in graph.inputs(vertex.id)]
    return list(dict.fromkeys(name for feed in feeds for name in _sources_of(graph, feed)))


def _indented(table: str) -> str:
    return "\n".join(f"    {line}" for line in table.splitlines())


def refused(text: str, manifest: Manifest) -> CheckpointError:
    """Return the error that a query cannot go on from a checkpoint, which itself is whole."""
    return CheckpointError(text, file=f"checkpoint {manifest.id}", matter="refused")
