"""What the state of an unbounded group-by is made of: what must be the same to go on with it, and how it is shown."""

from __future__ import annotations

from streamlab.core.column_names.own_columns import in_words, is_own
from streamlab.operators.group_aggregate.group_plan import ALL, ROWS, GroupPlan, given_column
from streamlab.state.forms import Fact, Shown, StateForm, aggregate_columns, aggregate_facts, dtype_text


def group_form(plan: GroupPlan) -> StateForm:
    """Return the form of the state of groups: partial results, or rows."""
    keys = dict(zip(plan.key_columns, plan.key_names, strict=False))
    key_facts = [Fact(f"key {name}", dtype_text(plan.key_schema[column])) for column, name in keys.items()]
    renamed = {column: Shown(name) for column, name in keys.items() if column != name}
    columns = {ALL: Shown(""), ROWS: Shown("rows"), **renamed}
    if plan.keeps_rows:
        # A row that is kept knows the user's expressions only when they run.
        inputs = [name for name in plan.row_schema if name not in plan.key_columns]
        facts = [*key_facts, *(Fact(f"column {name}", dtype_text(plan.row_schema[name])) for name in inputs)]
        taken = {name: Shown(f"{name} (input)") for name in inputs if name in plan.key_names}
        results = [name for name in plan.result_schema if name not in plan.key_names]
        given = {given_column(name): Shown(in_words(name) if is_own(name) else f"{name} (result)") for name in results}
        return StateForm("rows of groups", tuple(facts), {**columns, **taken, **given})
    facts = [*key_facts, Fact("counts rows", "yes" if plan.updating else "no")]
    facts += aggregate_facts(plan.split, plan.partial_schema, plan.row_schema)
    return StateForm("groups", tuple(facts), {**columns, **aggregate_columns(plan.split)})
