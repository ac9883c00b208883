"""Plans as an earlier release stored them: columns of ours without a prefix. They run, and find the state of theirs."""

from __future__ import annotations

import pickle
from dataclasses import replace

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.column_names.own_columns import PREFIX
from streamlab.graph.lowering import lower
from streamlab.plan import nodes
from streamlab.plan.explain import explain_plan, path_digest
from streamlab.plan.expressions.renaming import renamed
from streamlab.plan.former_plans import plan_as_now
from streamlab.plan.rewrite import rebuilt
from streamlab.plan.step_names import step_names
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.simulation import simulate
from streamlab.testing.wiring import CollectSink

ROWS = pl.DataFrame({"at": range(40), "k": [n % 3 for n in range(40)], "v": range(40)}).cast({"at": pl.Datetime("us")})
QUERIES = {
    "windows": lambda f: f.group_by_dynamic("at", every="10us", group_by="k").agg(pl.len(), pl.col("v").mean()),
    "groups": lambda f: f.group_by("k").having(pl.len() > 3, pl.col("v").sum() > 9).agg(pl.col("v").max()),
    "kept rows": lambda f: f.group_by("k").having(pl.col("v").median() > 3).agg(pl.col("v").median(), pl.len()),
    "updates": lambda f: (
        f.group_by_session("at", gap="2us", group_by="k", allowed_lateness="5us")
        .having(pl.col("v").sum() > 9)
        .agg(pl.len(), pl.col("v").std())
    ),
}


def stream() -> sl.StreamFrame:
    return sl.from_frame(ROWS, event_time="at", watermark="1us")


def former(plan: nodes.Node) -> nodes.Node:
    """Return a plan as it was made before columns of ours had a prefix."""

    def old(name: str) -> str:
        return f"__{name.removeprefix(PREFIX)}" if name.startswith(PREFIX) else name

    def change(node: nodes.Node) -> nodes.Node:
        node = replace(node, schema=pl.Schema({old(name): dtype for name, dtype in node.schema.items()}))
        if isinstance(node, nodes.GroupAggregate | nodes.WindowAggregate):
            split = node.split
            parts = ("partial", "merge", "final", "buffered", "single")
            changed = {part: tuple(renamed(one, old) for one in getattr(split, part)) for part in parts}
            reports = tuple(replace(report, name=old(report.name)) for report in split.reports)
            aggregates = tuple(renamed(one, old) for one in node.aggregates)
            return replace(node, split=replace(split, **changed, reports=reports), aggregates=aggregates)
        if isinstance(node, nodes.PolarsStep):
            return replace(node, args=tuple(renamed(a, old) if isinstance(a, pl.Expr) else old(a) for a in node.args))
        return node

    return rebuilt(plan, change)


def written(plan: nodes.Node) -> nodes.Write:
    return nodes.Write(input=plan, sink=CollectSink("sink"), step="sink", schema=plan.schema)


@pytest.mark.parametrize("name", QUERIES)
def test_a_stored_plan_is_as_one_made_now(name: str) -> None:
    now = QUERIES[name](stream()).plan
    then = former(now)
    assert PREFIX not in repr(then)
    stored = pickle.loads(pickle.dumps(then))
    found = plan_as_now(stored)
    assert found is not stored
    assert found.schema == now.schema
    assert explain_plan(found) == explain_plan(now)
    assert "__" not in explain_plan(found)
    assert lower(written(found), 2).steps == lower(written(now), 2).steps
    wanted = simulate(lower(written(now), 2), 1).table
    assert_same_rows(simulate(lower(written(found), 2), 1, crashes=1).table, wanted)


@pytest.mark.parametrize("name", QUERIES)
def test_ids_of_steps_are_what_they_were(name: str) -> None:
    now = QUERIES[name](stream()).plan
    then = former(now)
    assert list(step_names(then).values()) == list(step_names(now).values())
    assert path_digest(then) == path_digest(now)


def test_a_plan_of_today_stays_as_it_is() -> None:
    """Its columns may be called as ours once were."""
    rows = stream().rename({"k": "__key_v", "v": "__p0"})
    query = rows.group_by("__key_v").having(pl.len() > 3).agg(pl.col("__p0").sum(), __having0=pl.len()).plan
    assert plan_as_now(query) is query
    filtered = rows.group_by("__key_v").agg(__having0=pl.len() > 3).filter("__having0").named("having").plan
    assert plan_as_now(filtered) is filtered
