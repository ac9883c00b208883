"""Plans changed: the same steps over other sources, or under other names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from streamlab.connectors.contracts.source import Source
from streamlab.plan import nodes


def with_sources(plan: nodes.Node, change: Callable[[Source], Source]) -> nodes.Node:
    """Return the plan with each of its sources changed; a step that feeds several others still does.

    The new sources must have the schemas and event times of the old ones: steps are not typed again.
    """
    return rebuilt(
        plan, lambda node: replace(node, source=change(node.source)) if isinstance(node, nodes.Scan) else node
    )


def with_pins(plan: nodes.Node, pins: Mapping[int, str]) -> nodes.Node:
    """Return the plan with some steps, by the ids of their nodes, called as in the savepoint that it goes on from."""
    return rebuilt(plan, lambda node: replace(node, pinned=pins[id(node)]) if id(node) in pins else node)


def rebuilt(plan: nodes.Node, change: Callable[[nodes.Node], nodes.Node]) -> nodes.Node:
    """Return the plan with each of its steps changed, over changed inputs; `change` sees a step as it was."""
    done: dict[int, nodes.Node] = {}

    def visit(node: nodes.Node) -> nodes.Node:
        if id(node) not in done:
            changed = change(node)
            done[id(node)] = changed.over(*map(visit, changed.inputs))
        return done[id(node)]

    return visit(plan)
