"""The nodes of a plan: immutable values that say what each step is, inputs first.

What a step is asked about itself (how it is explained, what its id is made of, whether it keeps state, what identifies
a row of its result) are members of its node. Checked and typed nodes are made by `streamlab.plan.builders` and by the
methods of frames.
"""

from streamlab.plan.nodes.aggregates import GroupAggregate, WindowAggregate
from streamlab.plan.nodes.base import Node
from streamlab.plan.nodes.joins import JoinKind, StaticJoin, StreamJoin
from streamlab.plan.nodes.rows import Head, MapBatches, PolarsStep, Union
from streamlab.plan.nodes.sinks import Write
from streamlab.plan.nodes.sources import AssignWatermarks, Scan

__all__ = [
    "AssignWatermarks",
    "GroupAggregate",
    "Head",
    "JoinKind",
    "MapBatches",
    "Node",
    "PolarsStep",
    "Scan",
    "StaticJoin",
    "StreamJoin",
    "Union",
    "WindowAggregate",
    "Write",
]
