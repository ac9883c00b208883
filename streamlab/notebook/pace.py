"""Replaying a query at another pace than its sources say: ``%%stream NAME --pace 60x``."""

from __future__ import annotations

import dataclasses

from streamlab.connectors.timing import timing
from streamlab.frame.stream_frame import StreamFrame
from streamlab.plan import nodes


def paced(frame: StreamFrame, pace: str) -> StreamFrame:
    """Return the same query with all its sources at one pace.

    Parameters
    ----------
    frame
        The query.
    pace
        ``"max"``, ``"realtime"`` or a factor such as ``"60x"``.

    Raises
    ------
    OptionError
        If the pace cannot be read, or a source has no event time to replay by.
    """
    done: dict[int, nodes.Node] = {}
    for node in frame.plan.walk():
        done[id(node)] = _paced_node(node, pace, done)
    return frame._with(done[id(frame.plan)])


def _paced_node(node: nodes.Node, pace: str, done: dict[int, nodes.Node]) -> nodes.Node:
    if isinstance(node, nodes.Scan):
        said = dataclasses.replace(node.source.timing, pace=timing(node.source.timing.event_time, pace=pace).pace)
        return dataclasses.replace(node, source=dataclasses.replace(node.source, timing=said))
    if isinstance(node, nodes.Union):
        return dataclasses.replace(node, branches=tuple(done[id(branch)] for branch in node.branches))
    return dataclasses.replace(node, input=done[id(node.inputs[0])])  # type: ignore[call-arg]
