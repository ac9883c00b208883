"""Places for the vertices of a small directed graph without cycles: layers from left to right, few crossings.

After Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures" (1981):
longest-path layers, points for edges that pass over a layer, and a few sweeps that order each layer by the barycentre
of its neighbours. Job graphs have a few vertices, so nothing here is tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

_SWEEPS = 6


class Place(NamedTuple):
    """Where something stands: its layer, and its place within it."""

    layer: int
    row: float


@dataclass(frozen=True)
class Placed:
    """A drawn graph, in units of layers and rows.

    Attributes
    ----------
    vertices : dict[str, Place]
        Place of each vertex.
    edges : tuple[tuple[Place, ...], ...]
        Points that each edge passes, its ends included, in the order of the edges given.
    layers : int
        How many there are.
    rows : int
        How many places the largest layer has.
    """

    vertices: dict[str, Place]
    edges: tuple[tuple[Place, ...], ...]
    layers: int
    rows: int


def placed(vertices: Sequence[str], edges: Sequence[tuple[str, str]]) -> Placed:
    """Return places for vertices, which come in topological order, and their edges.

    Examples
    --------
    >>> drawn = placed(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    >>> [drawn.vertices[v].layer for v in "abc"], len(drawn.edges[2]), drawn.rows
    ([0, 1, 2], 3, 2)
    """
    layer: dict[str, int] = {}
    for vertex in vertices:
        layer[vertex] = max((layer[source] + 1 for source, target in edges if target == vertex), default=0)
    depth = 1 + max(layer.values(), default=-1)
    ranks: list[list[str]] = [[v for v in vertices if layer[v] == rank] for rank in range(depth)]
    paths = []
    links: list[tuple[str, str]] = []
    for number, (source, target) in enumerate(edges):
        between = [f"\0{number}:{rank}" for rank in range(layer[source] + 1, layer[target])]
        for point in between:
            layer[point] = int(point.rpartition(":")[2])
            ranks[layer[point]].append(point)
        path = (source, *between, target)
        paths.append(path)
        links += pairwise(path)
    _untangle(ranks, links)
    rows = max(map(len, ranks), default=0)
    places = {
        name: Place(rank, at + (rows - len(names)) / 2)
        for rank, names in enumerate(ranks)
        for at, name in enumerate(names)
    }
    return Placed(
        vertices={vertex: places[vertex] for vertex in vertices},
        edges=tuple(tuple(places[point] for point in path) for path in paths),
        layers=depth,
        rows=rows,
    )


def _untangle(ranks: list[list[str]], links: Sequence[tuple[str, str]]) -> None:
    """Order each layer by where its neighbours in the layer before, then in the layer behind, are."""
    before: dict[str, list[str]] = {}
    behind: dict[str, list[str]] = {}
    for source, target in links:
        before.setdefault(target, []).append(source)
        behind.setdefault(source, []).append(target)
    for sweep in range(_SWEEPS):
        neighbours = before if sweep % 2 == 0 else behind
        at = {name: place for names in ranks for place, name in enumerate(names)}
        for names in ranks if sweep % 2 == 0 else reversed(ranks):
            centres = {
                name: sum(at[other] for other in neighbours[name]) / len(neighbours[name])
                if name in neighbours
                else float(at[name])
                for name in names
            }
            names.sort(key=centres.__getitem__)
            at.update({name: place for place, name in enumerate(names)})
