"""What of a job graph happens once more in a replay: the order of inputs, and the inputs themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamlab.graph.job_graph import Exchange, JobGraph, Vertex


def has_turns(graph: JobGraph, vertex: Vertex) -> bool:
    """Return whether the order in which a vertex' tasks take their inputs is worth noting.

    It is when some task of the job has several inputs, and no step before this one gives rows by the clock: that
    would not happen once more.
    """
    if not graph.inputs(vertex.id) or not any(_has_several(graph, one) for one in graph.vertices):
        return False
    return not any(spec.goes_by_clock for one in _before(graph, vertex) for spec in one.operators)


def same_inputs(graph: JobGraph, other: JobGraph, form: Callable[[Any], bytes]) -> tuple[str, ...]:
    """Return the vertices that get the same from their inputs in both graphs, given the same rows in the sources.

    Parameters
    ----------
    form
        Returns a step as bytes by which it is compared.
    """
    known = {vertex.id: vertex for vertex in other.vertices}
    fed_alike: list[str] = []
    alike: set[str] = set()
    for vertex in graph.vertices:
        match = known.get(vertex.id)
        if match is None or match.parallelism != vertex.parallelism:
            continue
        edges = graph.inputs(vertex.id)
        if edges != other.inputs(vertex.id) or any(edge.source not in alike for edge in edges):
            continue
        fed_alike.append(vertex.id)
        if form((vertex.source, vertex.operators)) == form((match.source, match.operators)):
            alike.add(vertex.id)
    return tuple(fed_alike)


def _has_several(graph: JobGraph, vertex: Vertex) -> bool:
    edges = graph.inputs(vertex.id)
    wide = any(e.exchange is not Exchange.FORWARD and graph.vertex(e.source).parallelism > 1 for e in edges)
    return len(edges) > 1 or wide


def _before(graph: JobGraph, vertex: Vertex) -> list[Vertex]:
    """Return all vertices that feed a vertex."""
    found: dict[str, Vertex] = {}
    open_ids = [edge.source for edge in graph.inputs(vertex.id)]
    while open_ids:
        one = graph.vertex(open_ids.pop())
        if one.id not in found:
            found[one.id] = one
            open_ids += [edge.source for edge in graph.inputs(one.id)]
    return list(found.values())
