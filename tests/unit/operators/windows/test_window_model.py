"""The window operators against a row-by-row model of Flink's, after every single event."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from window_model import AGGREGATES, BUFFERED, Model, Pipeline, cumulative, hopping, rows_frame, session, specs

from streamlab.core.event_time.time import MAX_TIME_US, Duration
from streamlab.core.event_time.windows import EveryDuration, EveryRows, Windows
from streamlab.core.messages import MAIN, Batch

WINDOWS: list[Windows] = [
    hopping("10ms"),
    hopping("10ms", offset="3ms"),
    hopping("4ms", "10ms"),
    hopping("3ms", "12ms", "-2ms"),
    hopping("10ms", "6ms"),
    cumulative("3ms", "12ms"),
    session("4ms"),
    session("1ms"),
]
times = st.integers(-40, 60)
row = st.tuples(times, st.sampled_from(["a", "b", None]), st.sampled_from([None, 1, 2, 7]))
rows_event = st.tuples(st.just("rows"), st.lists(row, max_size=8))
watermark_event = st.tuples(st.just("watermark"), st.integers(-45, 65))
restart_event = st.tuples(st.just("restart"), st.integers(1, 3))
timer_event = st.tuples(st.just("timer"), st.just(0))
quick = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def follow(windows: Windows, events: list[tuple[str, Any]], pipeline: Pipeline, model: Model) -> None:
    """Run the events through both, comparing the folded table and the late rows after each."""
    now = 0
    watermark = -100
    for kind, value in [*events, ("watermark", None)]:
        if kind == "rows":
            pipeline.add(rows_frame(value))
            model.add(value)
        elif kind == "watermark":
            watermark = max(watermark, value) if value is not None else watermark
            model.advance(float("inf") if value is None else watermark)
            pipeline.advance(MAX_TIME_US if value is None else watermark * 1000)
        elif kind == "restart":
            pipeline.restart(value)
        else:
            now += 1_000_000
            pipeline.tick(now)
            now += 1_000_000
            pipeline.tick(now)
            model.fire_timer()
        assert pipeline.table() == +model.table, (kind, value)
        assert pipeline.late() == Counter(model.late)


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@pytest.mark.parametrize("lateness_ms", [0, 5])
@pytest.mark.parametrize("aggregates", [AGGREGATES, BUFFERED], ids=["incremental", "buffered"])
@quick
@given(events=st.lists(st.one_of(rows_event, watermark_event, restart_event), max_size=10), keyed=st.booleans())
def test_any_order_of_rows_and_watermarks(
    windows: Windows, lateness_ms: int, aggregates: tuple[pl.Expr, ...], events: list[tuple[str, Any]], keyed: bool
) -> None:
    parts = specs(windows, keyed=keyed, lateness_ms=lateness_ms, aggregates=aggregates)
    events = [(k, 1) if k == "restart" and not keyed else (k, v) for k, v in events]
    pipeline = Pipeline(parts, receivers=2 if keyed else 1)
    model = Model(windows, keyed=keyed, lateness_ms=lateness_ms)
    follow(windows, events, pipeline, model)
    counted = sum(r[3] for r in model.table.elements())
    assert counted > 0 or not any(len(v) for k, v in events if k == "rows") or model.late or model.in_gaps


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@pytest.mark.parametrize("lateness_ms", [0, 5])
@quick
@given(events=st.lists(st.one_of(rows_event, watermark_event, restart_event, timer_event), max_size=10))
def test_early_results_by_processing_time(windows: Windows, lateness_ms: int, events: list[tuple[str, Any]]) -> None:
    trigger = EveryDuration(Duration.parse("1s"))
    pipeline = Pipeline(specs(windows, lateness_ms=lateness_ms, trigger=trigger), receivers=2)
    follow(windows, events, pipeline, Model(windows, lateness_ms=lateness_ms, trigger=trigger))


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@pytest.mark.parametrize("lateness_ms", [0, 5])
@quick
@given(events=st.lists(st.one_of(rows_event, watermark_event, restart_event), max_size=10), every=st.integers(1, 4))
def test_early_results_by_rows(windows: Windows, lateness_ms: int, events: list[tuple[str, Any]], every: int) -> None:
    trigger = EveryRows(every)
    parts = specs(windows, lateness_ms=lateness_ms, trigger=trigger, combines=False)
    follow(windows, events, Pipeline(parts, receivers=2), Model(windows, lateness_ms=lateness_ms, trigger=trigger))


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@quick
@given(
    events=st.lists(
        st.tuples(st.sampled_from(["rows", "watermark"]), st.integers(0, 2), st.lists(row, max_size=6), times),
        max_size=14,
    )
)
def test_several_senders_judge_by_the_lowest_watermark(windows: Windows, events: list[tuple[Any, ...]]) -> None:
    pipeline = Pipeline(specs(windows), senders=3, receivers=2)
    model = Model(windows)
    held = [float("-inf")] * 3
    for kind, sender, rows, at in events:
        if kind == "rows":
            pipeline.add(rows_frame(rows), sender)
            model.add(rows)
        else:
            held[sender] = max(held[sender], at)
            pipeline.advance(int(held[sender]) * 1000, sender)
            model.advance(min(held))
        assert pipeline.table() == +model.table
        assert pipeline.late() == Counter(model.late)


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@pytest.mark.parametrize("lateness_ms", [0, 5])
@quick
@given(batches=st.lists(st.tuples(st.lists(row, min_size=1, max_size=6), st.integers(0, 9)), min_size=1, max_size=8))
def test_promised_watermarks_grow_and_hold(
    windows: Windows, lateness_ms: int, batches: list[tuple[list[Any], int]]
) -> None:
    """With rows that are all on time, no result starts at or before a watermark that was given earlier."""
    pipeline = Pipeline(specs(windows, lateness_ms=lateness_ms))
    watermark = -41
    for rows, step in batches:
        pipeline.add(rows_frame([(max(at, watermark + 1), k, v) for at, k, v in rows]))
        watermark += step
        pipeline.advance(watermark * 1000)
    pipeline.end()
    promised = -(2**63)
    for message in pipeline.log:
        if isinstance(message, Batch):
            assert message.tag == MAIN
            assert message.collected()["t"].dt.epoch("us").min() > promised
        else:
            assert message.us > promised
            promised = message.us
    assert promised == MAX_TIME_US
