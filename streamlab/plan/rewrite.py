"""Plans changed: the same steps over other sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streamlab.connectors.source import Source
from streamlab.plan import nodes


def with_sources(plan: nodes.Node, change: Callable[[Source], Source]) -> nodes.Node:
    """Return the plan with each of its sources changed; a step that feeds several others still does.

    The new sources must have the schemas and event times of the old ones: steps are not typed again.
    """
    done: dict[int, nodes.Node] = {}

    def visit(node: nodes.Node) -> nodes.Node:
        if id(node) not in done:
            done[id(node)] = _changed(node, change, visit)
        return done[id(node)]

    return visit(plan)


def _changed(
    node: nodes.Node, change: Callable[[Source], Source], visit: Callable[[nodes.Node], nodes.Node]
) -> nodes.Node:
    if isinstance(node, nodes.Scan):
        return replace(node, source=change(node.source))
    if isinstance(node, nodes.Union):
        return replace(node, branches=tuple(map(visit, node.branches)))
    (child,) = node.inputs
    return replace(node, input=visit(child))  # type: ignore[call-arg] # every other node has the one field `input`
