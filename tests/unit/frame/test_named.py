"""Names that users give to steps."""

from __future__ import annotations

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import OptionError, PlanError
from streamlab.graph.lowering import lower
from streamlab.plan import nodes
from streamlab.testing.wiring import CollectSink


def steps(frame: sl.StreamFrame) -> list[str]:
    graph = lower(nodes.Write(input=frame.plan, sink=CollectSink("sink"), step="sink", schema=frame.schema), 2)
    return [step for vertex in graph.vertices for step in vertex.steps]


def flights() -> sl.StreamFrame:
    return sl.from_frame(pl.DataFrame({"k": [1], "n": [2]}))


def test_a_step_has_the_name_that_it_was_given() -> None:
    named = flights().named("rows").group_by("k").agg(pl.len()).named("per key")
    assert "per key" in steps(named)
    assert steps(named)[0] == "rows"
    assert "per key" in named.explain()


def test_other_steps_keep_their_names() -> None:
    plain = flights().group_by("k").agg(pl.col("n").sum()).filter(pl.col("n") > 1)
    named = flights().group_by("k").agg(pl.col("n").sum()).filter(pl.col("n") > 1).named("many")
    assert [step for step in steps(named) if step != "many"] == [step for step in steps(plain) if step != "filter"]


def test_a_name_is_given_once() -> None:
    with pytest.raises(PlanError, match="named: needs a name that no other step has, got 'rows'"):
        flights().named("rows").group_by("k").agg(pl.len()).named("rows")
    assert "again" in steps(flights().filter(pl.col("n") > 1).named("first").named("again"))


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, 7, None])
def test_bad_names(name) -> None:
    with pytest.raises(OptionError, match="named"):
        flights().named(name)
