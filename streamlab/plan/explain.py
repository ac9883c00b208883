"""A plan as text: one line per step, its input below it, as Polars draws its own.

The text is stable: it depends on the query only, so tests compare it and jobs keep it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from streamlab.core.column_names.former_names import former
from streamlab.core.column_names.own_columns import is_own
from streamlab.core.redaction import without_credentials
from streamlab.plan import nodes
from streamlab.plan.nodes.words import short
from streamlab.plan.step_names import step_names
from streamlab.plan.step_titles import step_titles


def explain_plan(plan: nodes.Node) -> str:
    """Return the plan as a tree of text, the last step first."""
    return without_credentials("\n".join(_lines(plan, step_titles(plan, step_names(plan)), for_people=True)))


def path_digest(node: nodes.Node) -> str:
    """Return a hash of a step and of all that it is fed by, which tells steps of one name apart."""
    columns = node.schema.names() if isinstance(node, nodes.Scan) else []
    return hashlib.sha256(former("\n".join([*_lines(node, {}), *columns])).encode()).hexdigest()


def _lines(node: nodes.Node, names: Mapping[int, str], *, for_people: bool = False) -> Iterator[str]:
    """Yield the lines of a step and of its inputs; for people without the columns that they have not named."""
    inputs = node.inputs
    conditions = _conditions(node) if for_people else ""
    if conditions:
        # The conditions are columns of the aggregate, which one step filters by and another drops.
        inputs = node.inputs[0].inputs
        yield f"having: {conditions}"
    else:
        yield _headline(node, names.get(id(node), node.step))
    rail = "│" if inputs else " "
    for detail in node.details() if not conditions else ():
        if not (for_people and is_own(detail)):
            yield f"{rail}    {detail}"
    for at, child in enumerate(inputs):
        last = at == len(inputs) - 1
        first, *rest = _lines(child, names, for_people=for_people)
        yield f"{'└─' if last else '├─'} {first}"
        for line in rest:
            yield f"{'  ' if last else '│ '} {line}".rstrip()


def _conditions(node: nodes.Node) -> str:
    """Return what groups are chosen by, of the last of the steps that ``having`` is made of; else nothing."""
    if not (isinstance(node, nodes.PolarsStep) and node.method == "drop" and all(map(is_own, node.args))):
        return ""
    aggregate = node.input.inputs[0]
    if not isinstance(aggregate, nodes.GroupAggregate | nodes.WindowAggregate):
        return ""
    return ", ".join(
        short(str(one.meta.undo_aliases())) for one in aggregate.aggregates if is_own(one.meta.output_name())
    )


def _headline(node: nodes.Node, name: str) -> str:
    marks = []
    if node.updating and not any(child.updating for child in node.inputs):
        marks.append("makes the stream an updating one")
    text = node.describe()
    note = f"  [{'; '.join(marks)}]" if marks else ""
    if isinstance(node, nodes.Scan) and text.startswith(node.step):
        name, text = "", f"{name}{text.removeprefix(node.step)}"
    return f"{': '.join(filter(None, (name, text)))}{note}"
