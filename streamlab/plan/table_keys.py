"""Which columns identify a row of an updating result: folding its changelog is quick when they are known."""

from __future__ import annotations

from streamlab.core.event_time.windows import CumulativeWindows
from streamlab.plan import nodes
from streamlab.plan.expressions import output_columns
from streamlab.plan.expressions.expansion import expand

_UPPER = "_upper_boundary"
_KEEPS_ROWS = frozenset({"filter", "drop", "cast", "drop_nulls", "drop_nans"})


def table_keys(plan: nodes.Node) -> tuple[str, ...] | None:
    """Return the key columns of an updating table, or None when a key may have several rows or is not known.

    They are followed through steps that give at most one row for each row and leave the key columns alone.
    """
    if isinstance(plan, nodes.GroupAggregate):
        return tuple(key.meta.output_name() for key in plan.keys)
    if isinstance(plan, nodes.WindowAggregate):
        return _window_keys(plan)
    if not isinstance(plan, nodes.PolarsStep):
        return None
    keys = table_keys(plan.input)
    return None if keys is None else _after_step(plan, keys)


def _after_step(plan: nodes.PolarsStep, keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the keys under the names that they have after the step."""
    if plan.method == "rename":
        return tuple(plan.args[0].get(key, key) for key in keys)
    if plan.method == "select":
        return _after_select(plan, keys)
    if plan.method == "with_columns":
        changed = {name for expr in plan.args for name, _ in output_columns(expr, plan.input.schema)}
        return None if changed & set(keys) else keys
    kept = all(plan.schema.get(key) == plan.input.schema[key] for key in keys)
    return keys if plan.method in _KEEPS_ROWS and kept else None


def _window_keys(plan: nodes.WindowAggregate) -> tuple[str, ...] | None:
    keys = (*(key.meta.output_name() for key in plan.keys), plan.index_column)
    if not isinstance(plan.windows, CumulativeWindows):
        return keys
    return (*keys, _UPPER) if plan.include_boundaries else None


def _after_select(plan: nodes.PolarsStep, keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the names under which plain columns of a select hold the keys."""
    named: dict[str, str] = {}
    for expression in expand(plan.args, plan.input.schema):
        bare = expression.meta.undo_aliases()
        if bare.meta.is_column():
            named.setdefault(bare.meta.output_name(), expression.meta.output_name())
    return tuple(named[key] for key in keys) if all(key in named for key in keys) else None
