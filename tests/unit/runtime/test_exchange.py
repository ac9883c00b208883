"""Routing: every row goes somewhere, equal keys go to one place, and order is kept on each channel."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.messages import Batch, Watermark
from streamlab.graph.job_graph import Edge, Exchange, JobGraph, Vertex
from streamlab.runtime.task.exchange import Channel, Router, input_channels
from streamlab.state.snapshot import subtask_of

KEYS = st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=40)


def _router(exchange: Exchange, parallelism: int = 3, subtask: int = 0) -> Router:
    return Router(Edge("a", "b", exchange, ("k",)), 0, subtask, parallelism)


@given(KEYS, st.integers(1, 5))
def test_hash_exchange_keeps_rows_keys_together_and_order(keys: list[int | None], parallelism: int) -> None:
    frame = pl.DataFrame({"k": keys, "at": range(len(keys))}, schema={"k": pl.Int64, "at": pl.Int64})
    parts = {e.channel: e.message.collected() for e in _router(Exchange.HASH, parallelism).route(Batch(frame))}
    everything = pl.concat([frame.head(0), *parts.values()])
    assert sorted(everything["at"]) == list(range(len(keys)))
    assert all(part["at"].is_sorted() for part in parts.values())
    homes = pl.concat(
        [
            frame.head(0).with_columns(home=pl.lit(0)),
            *(part.with_columns(home=pl.lit(channel.target_subtask)) for channel, part in parts.items()),
        ]
    )
    assert homes.group_by("k").agg(pl.col("home").n_unique()).filter(pl.col("home") > 1).is_empty()


@pytest.mark.parametrize(("parallelism", "height"), [(2, 2000), (2, 100_000), (5, 2000), (5, 100_000), (300, 2000)])
@pytest.mark.parametrize("keys", [("k",), ("k", "c"), ("c",)])
def test_each_part_is_what_a_filter_for_its_target_finds(keys: tuple[str, ...], parallelism: int, height: int) -> None:
    """State in savepoints lies where these targets say."""
    numbers = pl.int_range(height, eager=True)
    frame = pl.DataFrame({"k": numbers % 700, "c": (numbers % 97).cast(pl.String).cast(pl.Categorical), "at": numbers})
    targets = frame.select(subtask_of(keys, parallelism, frame.schema)).to_series()
    router = Router(Edge("a", "b", Exchange.HASH, keys), 0, 0, parallelism)
    parts = {e.channel.target_subtask: e.message.collected() for e in router.route(Batch(frame))}
    assert sorted(parts) == sorted(set(targets))
    assert all(part.equals(frame.filter(targets == target)) for target, part in parts.items())


def test_rows_of_one_target_are_not_moved_and_no_rows_go_nowhere() -> None:
    router = _router(Exchange.HASH)
    frame = pl.DataFrame({"k": [7, 7, 7], "at": [1, 2, 3]})
    (only,) = router.route(Batch(frame, "late_rows", 5))
    assert only.message == Batch(only.message.collected(), "late_rows", 5)
    assert only.message.collected().equals(frame)
    assert router.route(Batch(frame.clear())) == []


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("k", [0.0, -0.0, float("nan"), None]),
        pl.Series("k", ["a", None, "b", "a"], dtype=pl.Categorical),
        pl.Series("k", [b"x", b"y", None, b"x"]),
        pl.Series("k", [{"x": 1}, {"x": None}, {"x": 1}, {"x": 2}]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_keys_that_group_together_travel_together(values: pl.Series) -> None:
    frame = pl.DataFrame([values]).with_row_index("at")
    home = {
        at: emission.channel.target_subtask
        for emission in _router(Exchange.HASH).route(Batch(frame))
        for at in emission.message.collected()["at"]
    }
    for group in frame.group_by("k").agg("at")["at"]:
        assert len({home[at] for at in group}) == 1


def test_category_codes_do_not_decide_where_a_row_goes() -> None:
    one = pl.DataFrame({"k": pl.Series(["a", "b"], dtype=pl.Categorical(pl.Categories("one")))})
    two = pl.DataFrame({"k": pl.Series(["b", "a"], dtype=pl.Categorical(pl.Categories("two")))})
    homes = []
    for frame in (one, two):
        routed = _router(Exchange.HASH, 5).route(Batch(frame))
        homes.append({k: e.channel.target_subtask for e in routed for k in e.message.collected()["k"].cast(pl.String)})
    assert homes[0] == homes[1]


def test_rebalance_goes_round_and_starts_apart() -> None:
    batch = Batch(pl.DataFrame({"k": [1]}))
    first, second = _router(Exchange.REBALANCE), _router(Exchange.REBALANCE, subtask=1)
    assert [first.route(batch)[0].channel.target_subtask for _ in range(4)] == [0, 1, 2, 0]
    assert second.route(batch)[0].channel.target_subtask == 1


def test_broadcast_and_control_messages_go_everywhere() -> None:
    batch = Batch(pl.DataFrame({"k": [1]}))
    router = _router(Exchange.BROADCAST)
    assert [e.channel.target_subtask for e in router.route(batch)] == [0, 1, 2]
    assert [e.message for e in router.broadcast(Watermark(5))] == [Watermark(5)] * 3


def test_input_channels_of_forward_and_hash_edges() -> None:
    graph = JobGraph(
        (
            Vertex("a", None, (), None, 2),
            Vertex("b", None, (), None, 3),
            Vertex("c", None, (), None, 2),
        ),
        (Edge("a", "c", Exchange.FORWARD, port=0), Edge("b", "c", Exchange.HASH, ("k",), port=1)),
    )
    assert input_channels(graph, "c", 1) == {
        Channel(0, 1, 1): 0,
        Channel(1, 0, 1): 1,
        Channel(1, 1, 1): 1,
        Channel(1, 2, 1): 1,
    }
