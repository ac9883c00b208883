"""Joins of two streams: every pair that Polars' join of the whole frames has, once, however rows come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamlab as sl
from streamlab.core.changelog import fold
from streamlab.core.messages import Batch
from streamlab.operators.base import Operator, OperatorContext
from streamlab.operators.joins import JoinPlan, join_operators
from streamlab.state.snapshot import Snapshot, regroup, subtask_of
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.oracle import oracle
from streamlab.testing.simulation import simulate
from streamlab.testing.sources import split_frames
from streamlab.testing.strategies import SCHEMA, Stream, batches, streams

law = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))

HOWS = ["inner", "left", "right", "full", "semi", "anti"]
JOINS: dict[str, dict[str, object]] = {
    "one key": {"on": "key"},
    "two keys": {"on": ["key", "flag"]},
    "floats": {"on": "value"},
    "floats of two widths": {"left_on": pl.col("value").cast(pl.Float32), "right_on": "value"},
    "one key for several columns": {"on": pl.col("key", "flag")},
    "nulls are equal": {"on": "key", "nulls_equal": True},
    "keys of other names": {"left_on": "number", "right_on": pl.col("number") + 1},
    "both keys kept": {"on": "number", "coalesce": False, "suffix": "_of_the_other"},
    "integers of two widths": {"left_on": pl.col("number") % 7, "right_on": (pl.col("number") % 5).cast(pl.Int8)},
    "times": {"on": "at"},
}
BEHIND: dict[str, Callable[[sl.StreamFrame], sl.StreamFrame]] = {
    "nothing": lambda frame: frame,
    "filter": lambda frame: frame.filter(pl.col("number") > 0).with_columns(twice=pl.col("number") * 2),
    "group_by": lambda frame: frame.group_by("flag").agg(pl.len(), pl.col("number").sum()),
}


def stream(one: Stream, splits: int, name: str) -> sl.StreamFrame:
    number = pl.int_range(one.frame.height, eager=True) % splits
    parts = [one.frame.filter(number == split) for split in range(splits)]
    return split_frames(parts, event_time="at", watermark=f"{one.bound_us}us", name=name)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", JOINS)
@law
@given(
    left=streams(max_rows=25),
    right=streams(max_rows=25),
    behind=st.sampled_from(list(BEHIND)),
    seed=st.integers(0, 2**32),
    parallelism=st.integers(1, 3),
    crashes=st.integers(0, 2),
)
def test_a_join_gives_what_polars_gives(
    how: str, name: str, left: Stream, right: Stream, behind: str, seed: int, parallelism: int, crashes: int
) -> None:
    one, other = stream(left, 2, "left"), stream(right, 1, "right")
    query = BEHIND[behind](one.join(other, how=how, **JOINS[name]))
    whole = BEHIND[behind](left.frame.lazy().join(right.frame.lazy(), how=how, **JOINS[name]))
    wanted = whole.collect()
    inputs = {"left": left.frame, "right": right.frame}
    assert_same_rows(oracle(query, inputs), wanted)
    assert query.collect_schema() == wanted.schema
    result = simulate(query, seed, parallelism=parallelism, crashes=crashes)
    assert_same_rows(result.table, wanted)


COUNTED = "key", [pl.len().alias("rows"), pl.col("number").sum()]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("updating", ["left", "right", "both"])
@law
@given(
    left=streams(max_rows=25),
    right=streams(max_rows=25),
    behind=st.sampled_from(["nothing", "count"]),
    seed=st.integers(0, 2**32),
    parallelism=st.integers(1, 3),
    crashes=st.integers(0, 2),
)
def test_updates_of_both_sides_end_at_what_polars_gives(
    how: str, updating: str, left: Stream, right: Stream, behind: str, seed: int, parallelism: int, crashes: int
) -> None:
    """Groups grow while rows of the other side come: each result of a group takes back what the one before it met."""

    def joined(one: Any, other: Any) -> Any:
        keys, aggregates = COUNTED
        mine = one.group_by(keys).agg(*aggregates) if updating in {"left", "both"} else one
        theirs = other.group_by(keys).agg(*aggregates) if updating in {"right", "both"} else other
        both = mine.join(theirs, on="key", how=how)
        return both if behind == "nothing" else both.group_by("key").agg(pl.len().alias("pairs"))

    query = joined(stream(left, 2, "left"), stream(right, 2, "right"))
    wanted = joined(left.frame.lazy(), right.frame.lazy()).collect()
    assert_same_rows(simulate(query, seed, parallelism=parallelism, crashes=crashes).table, wanted)


@law
@given(one=streams(max_rows=15), seed=st.integers(0, 2**32), parallelism=st.integers(1, 3), how=st.sampled_from(HOWS))
def test_a_stream_meets_itself(one: Stream, seed: int, parallelism: int, how: str) -> None:
    own = stream(one, 2, "own")
    query = own.join(own.filter(pl.col("flag")), on="key", how=how)
    frame = one.frame
    assert_same_rows(
        simulate(query, seed, parallelism=parallelism, crashes=1).table,
        frame.join(frame.filter(pl.col("flag")), on="key", how=how),
    )


class Subtasks:
    """The operator behind the exchange, as several subtasks that are stopped and cut anew."""

    def __init__(self, plan: JoinPlan, parallelism: int, snapshots: list[Snapshot]) -> None:
        self._plan = plan
        *_, spec = join_operators("join", plan)
        self._parallelism = parallelism
        self._all: list[Operator] = [
            spec.build(OperatorContext(at, parallelism), regroup(snapshots, at, parallelism))
            for at in range(parallelism)
        ]

    def process(self, rows: pl.DataFrame, port: int) -> list[pl.DataFrame]:
        keyed = self._plan.keyed(rows.lazy(), port).collect()
        target = keyed.select(subtask_of(self._plan.key_columns, self._parallelism, keyed.schema)).to_series()
        parts = ((one, keyed.filter(target == at)) for at, one in enumerate(self._all))
        out = [message for one, part in parts if part.height for message in one.process(Batch(part), port)]
        return [message.collected() for message in out if isinstance(message, Batch)]

    def rescaled(self, parallelism: int) -> Subtasks:
        return Subtasks(self._plan, parallelism, [one.snapshot() for one in self._all])


@law
@given(data=st.data(), left=streams(max_rows=25), right=streams(max_rows=25))
def test_stopped_and_cut_anew_it_gives_each_pair_once(data: st.DataObject, left: Stream, right: Stream) -> None:
    name = data.draw(st.sampled_from(["one key", "two keys", "floats", "nulls are equal"]))
    on = JOINS[name]["on"]
    keys = tuple(pl.col(column) for column in ([on] if isinstance(on, str) else on))
    options = {key: value for key, value in JOINS[name].items() if key != "on"}
    how = data.draw(st.sampled_from(HOWS))
    wanted = left.frame.join(right.frame, how=how, **JOINS[name])
    plan = JoinPlan(how, (SCHEMA, SCHEMA), (keys, keys), wanted.schema, options)
    waiting = [(part, port) for port, one in enumerate((left, right)) for part in data.draw(batches(one.frame))]
    subtasks, found = Subtasks(plan, 1, []), []
    for part, port in data.draw(st.permutations(waiting)):
        found += subtasks.process(part, port)
        subtasks = subtasks.rescaled(data.draw(st.integers(1, 4)))
    assert_same_rows(fold(pl.concat(found)) if found else wanted.clear(), wanted)
