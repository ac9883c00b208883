"""What it costs to send the rows of a batch to the subtasks of their keys does not grow with how many there are."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from ratio import MOST, cost_ratio

from streamlab.core.messages import Batch
from streamlab.graph.job_graph import Edge, Exchange
from streamlab.runtime.task.exchange import Router


def rows(height: int) -> pl.DataFrame:
    number = pl.int_range(height, eager=True)
    return pl.DataFrame(
        {
            "k": number * 7919 % 10_007,
            "t": number.cast(pl.Datetime("us")),
            "v": number / 3,
            "s": "text of some length, number " + (number % 1_000).cast(pl.String),
        }
    )


def routed(frame: pl.DataFrame, targets: int, *, times: int = 1) -> Callable[[], None]:
    """Return a call that routes the rows so many times."""
    router = Router(Edge("a", "b", Exchange.HASH, ("k",)), 0, 0, targets)
    batch = Batch(frame)

    def route() -> None:
        for _ in range(times):
            router.route(batch)

    return route


@pytest.mark.parametrize("height", [20_000, 300_000])
def test_many_targets_cost_about_what_two_do(height: int) -> None:
    frame = rows(height)
    ratio = cost_ratio(routed(frame, 32), routed(frame, 2))
    assert ratio < MOST, f"{ratio:.1f} times as much for 32 targets as for 2"


def test_a_small_batch_for_many_targets_costs_less_than_filters_do() -> None:
    """What is paid once a batch: a hash, and a gather for all targets instead of a filter for each."""
    frame = rows(40)

    def three_filters() -> None:
        for _ in range(300):
            frame.filter(pl.col("k") == 7)

    ratio = cost_ratio(routed(frame, 8, times=100), three_filters)
    assert ratio < 2.0, f"{ratio:.1f} times as much as three filters"
