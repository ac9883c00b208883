"""A job graph as text: what runs in one task, how many subtasks there are, and how rows travel between them."""

from __future__ import annotations

from streamlab.core.column_names.own_columns import key_name
from streamlab.core.redaction import without_credentials
from streamlab.graph.job_graph import Edge, Exchange, JobGraph, Vertex


def explain_graph(graph: JobGraph) -> str:
    """Return the vertices in order, each with its chain, its subtasks and where its rows go.

    The text is stable: it depends on the graph only.
    """
    numbers = {vertex.id: number for number, vertex in enumerate(graph.vertices, start=1)}
    lines = ["Job graph"]
    for vertex in graph.vertices:
        lines.append(f"  {numbers[vertex.id]}. {' → '.join(vertex.steps)}  x {vertex.parallelism}")
        lines += [f"       {line}" for line in _facts(vertex)]
        lines += [f"       ⇒ {numbers[edge.target]}: {routing(edge)}" for edge in graph.outputs(vertex.id)]
    return without_credentials("\n".join(lines))


def _facts(vertex: Vertex) -> list[str]:
    facts = []
    if vertex.source is not None:
        facts.append(f"reads {vertex.source.describe()}")
    user_code = [spec.shown for spec in vertex.operators if spec.is_user_code]
    if user_code:
        facts.append(f"runs user code in {', '.join(user_code)}")
    if vertex.operators and vertex.operators[-1].shown.endswith(" (local)"):
        facts.append("combines rows of the same key before the exchange")
    if vertex.sink is not None:
        facts.append(f"writes {vertex.sink.describe()}, {vertex.sink.promise}")
    return facts


def routing(edge: Edge) -> str:
    """Return in words how an edge's rows are routed: ``hash by origin``, ``forward`` and the like."""
    if edge.exchange is Exchange.HASH:
        keys = [key_name(key) for key in edge.keys]
        return f"hash by {', '.join(keys)}" if keys else "all to one subtask"
    return str(edge.exchange.value)
