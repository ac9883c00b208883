"""Ids of steps by which state is found again: they depend on the step alone, not on the rest of the query.

What users see of a step that was given no name is another thing (`streamlab.plan.step_titles`).

Rules
-----
- A step that was given a name has that name (:meth:`StreamFrame.named`).
- A step that keeps state is called after what it is: the method, and four characters that stand for its keys, windows
  and result columns, as in ``group_by 5f3a``. So another filter before it, or another branch beside it, does not rename
  it. The characters are made of names only, which no version of Polars writes in another way.
- Sources have the names that they were given.
- Steps that are alike are numbered in the order of the query: ``group_by 5f3a``, ``group_by 5f3a #2``. What each of
  them is fed by tells them apart when they go on from a savepoint; when that has changed too, users must say which is
  which.
- A step that goes on from a savepoint keeps the name that it had there (`Node.pinned`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter

from streamlab.plan import nodes


def base_name(node: nodes.Node) -> str:
    """Return a step's name as far as it depends on the step alone."""
    if node.is_named or not node.keeps_state:
        return node.step
    if isinstance(node, nodes.Scan):
        return node.source.name
    digest = hashlib.sha256(json.dumps(node.traits).encode()).hexdigest()[:4]
    return f"{node.step} {digest}"


def step_names(plan: nodes.Node) -> dict[int, str]:
    """Return the names of all steps that keep state or were given a name, by the ids of their nodes."""
    every = [node for node in plan.walk() if node.keeps_state or node.is_named]
    taken = {node.pinned for node in every if node.pinned}
    count: Counter[str] = Counter()
    names = {}
    for node in every:
        if node.pinned:
            names[id(node)] = node.pinned
            continue
        base = base_name(node)
        while True:
            count[base] += 1
            name = base if count[base] == 1 else f"{base} #{count[base]}"
            if name not in taken:
                break
        names[id(node)] = name
        taken.add(name)
    return names
