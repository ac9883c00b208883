"""What users see of steps: a few words that say what a step does, such as ``1 min windows by sensor``.

A title is not what state is found by: that is a step's id (`streamlab.plan.step_names`), which stays the same when a
title is worded in another way. A name that a user gave is both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from streamlab.plan import nodes
from streamlab.plan.nodes.words import LONGEST_TITLE


def step_titles(plan: nodes.Node, ids: Mapping[int, str]) -> dict[int, str]:
    """Return the titles of the steps that have more to say than their method, by the ids of their nodes.

    Parameters
    ----------
    plan
        The query.
    ids
        The ids of its steps that keep state or were given a name (`step_names`). A step that is called after its method
        alone has its id as its title.
    """
    every = list(plan.walk())
    own = {id(node): ids[id(node)] for node in every if id(node) in ids and _speaks(node)}
    count = Counter(dict.fromkeys(own.values(), 1))
    titles = dict(own)
    for node in every:
        said = "" if id(node) in own else _shortened(node.title)
        if not said:
            continue
        count[said] += 1
        titles[id(node)] = said if count[said] == 1 else f"{said} #{count[said]}"
    return titles


def _speaks(node: nodes.Node) -> bool:
    """Return whether a step's id is a name that somebody gave."""
    return node.is_named or isinstance(node, nodes.Scan)


def _shortened(title: str) -> str:
    flat = " ".join(title.split())
    return flat if len(flat) <= LONGEST_TITLE else f"{flat[: LONGEST_TITLE - 1].rstrip()}…"
