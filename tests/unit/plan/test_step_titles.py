"""What users see of steps: short, distinct, and another thing than the ids by which state is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl
import pytest

import streamlab as sl
from streamlab.graph.lowering import lower
from streamlab.plan import nodes
from streamlab.plan.step_titles import LONGEST_TITLE
from streamlab.runtime.tables.results import ResultTable

ROWS = pl.DataFrame({"at": [datetime(2026, 1, 1)], "sensor": ["a"], "city": ["x"], "v": [1.0]})  # noqa: DTZ001 - naive, as most data are
Stream = sl.StreamFrame


def stream() -> Stream:
    return sl.from_frame(ROWS, event_time="at", watermark="1s")


def windows(frame: Stream, **given: object) -> Stream:
    return frame.group_by_dynamic("at", **{"every": "1m", "group_by": "sensor", **given}).agg(pl.len())


def score(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


TITLES: dict[str, Callable[[], Stream]] = {
    "1 min windows by sensor": lambda: windows(stream()),
    "1 h 30 min windows": lambda: windows(stream(), every="1h30m", group_by=None),
    "1 h windows every 10 min by sensor": lambda: windows(stream(), every="10m", period="1h"),
    "2 months windows by sensor and city": lambda: windows(stream(), every="2mo", group_by=["sensor", "city"]),
    "sessions with 30 s gaps by city": lambda: (
        stream().group_by_session("at", gap="30s", group_by="city").agg(pl.len())
    ),
    "count by city": lambda: stream().group_by("city").len(),
    "mean of v by city": lambda: stream().group_by("city").agg(pl.col("v").mean()),
    "range by city": lambda: stream().group_by("city").agg((pl.col("v").max() - pl.col("v").min()).alias("range")),
    "4 aggregates by city": lambda: (
        stream().group_by("city").agg(pl.len(), pl.col("v").mean(), most=pl.col("v").max(), least=pl.col("v").min())
    ),
    "sum of v of all rows": lambda: stream().select(pl.col("v").sum()),
    "first 3 rows": lambda: stream().head(3),
    "watermarks of at": lambda: stream().with_watermark("at", "1s"),
    "left join on city": lambda: stream().join(pl.DataFrame({"city": ["x"]}), on="city", how="left"),
    "map_batches score": lambda: stream().map_batches(score),
    "per key": lambda: stream().group_by("city").len().named("per key"),
}


@pytest.mark.parametrize("title", TITLES)
def test_steps_say_what_they_do(title: str) -> None:
    shown = TITLES[title]().explain()
    assert shown.startswith(f"{title}: "), shown
    assert title in shown.partition("Job graph")[2]


def test_steps_that_are_alike_are_numbered_and_long_titles_are_cut() -> None:
    two = sl.concat([windows(stream().filter(pl.col("v") > 0)), windows(stream())]).explain()
    assert "1 min windows by sensor: " in two
    assert "1 min windows by sensor #2: " in two
    long = stream().group_by(pl.col("city").alias("k" * 100)).len().explain()
    assert len(long.partition(":")[0]) <= LONGEST_TITLE


def test_ids_are_what_they_were_and_titles_are_beside_them() -> None:
    plan = windows(stream()).plan
    table = ResultTable("results", plan.schema, None, None)
    graph = lower(nodes.Write(input=plan, sink=table, step="results", schema=plan.schema), 2)
    assert [(step.name, step.title) for step in graph.steps] == [
        ("from_frame", "from_frame"),
        ("group_by_dynamic 9c89", "1 min windows by sensor"),
    ]
    assert [vertex.id for vertex in graph.vertices] == ["from_frame", "group_by_dynamic 9c89"]
    assert graph.vertices[1].steps == ("1 min windows by sensor", "results")


def test_conditions_of_groups_have_no_columns_of_ours() -> None:
    shown = stream().group_by("city").having(pl.len() > 2).agg(pl.col("v").sum()).explain()
    assert shown.startswith("having: [(len()) > (dyn int: 2)]\n└─ sum of v by city: ")
    assert "__" not in shown
    assert "→ having →" in shown


def test_a_job_shows_titles_and_finds_state_by_them() -> None:
    job = windows(stream()).start("titled", parallelism=1)
    job.wait()
    assert set(job.metrics()["vertex"]) == {"from_frame", "1 min windows by sensor"}
    graph = job.graph()
    assert graph["vertex"].to_list() == ["from_frame", "1 min windows by sensor"]
    assert graph["gives_to"].to_list() == [["1 min windows by sensor"], []]
    assert set(job.watermarks()["vertex"]) == set(graph["vertex"])
    assert set(job.history()["vertex"]) <= set(graph["vertex"])
    checkpoint = job.checkpoints[-1]
    assert (
        "1 min windows by sensor" in repr(checkpoint.operators["operator"].to_list()) or checkpoint.operators.is_empty()
    )
