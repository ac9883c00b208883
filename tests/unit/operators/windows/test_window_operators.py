"""Single traits of the two window operators, and the cases of Flink's own operator test that fit."""

from __future__ import annotations

import pickle

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from window_model import AGGREGATES, SCHEMA, Pipeline, cumulative, hopping, rows_frame, session, specs

from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import InternalError
from streamlab.core.event_time.time import MAX_TIME_US, Duration
from streamlab.core.event_time.windows import EveryDuration, EveryRows
from streamlab.core.messages import LATE_ROWS, MAIN, UNAGGREGATED, Batch, Watermark
from streamlab.operators.base import OperatorContext
from streamlab.operators.windows import WindowAggregateSpec
from streamlab.state.snapshot import Snapshot

HERE = OperatorContext()


def play(pipeline: Pipeline, *steps: tuple[int, str] | int) -> list[object]:
    """Feed rows ``(time, key)`` of value 1 one by one, and watermarks; return result rows and late ones in order."""
    for step in steps:
        if isinstance(step, tuple):
            pipeline.add(rows_frame([(*step, 1)]))
        else:
            pipeline.advance(step * 1000)
    log: list[object] = []
    for message in pipeline.log:
        if isinstance(message, Batch) and message.tag == LATE_ROWS:
            log += [("late", at) for at in message.collected()["t"].dt.epoch("ms")]
        elif isinstance(message, Batch):
            frame = message.collected()
            columns = [ROW_KIND] if ROW_KIND in frame.columns else []
            columns += ["k", "s", pl.col("_lower_boundary").dt.epoch("ms"), pl.col("_upper_boundary").dt.epoch("ms")]
            log += frame.select(columns).sort(pl.all()).rows()
    return log


def test_late_rows_of_tumbling_windows() -> None:
    steps = [(1000, "b"), 1985, (1980, "b"), 1999, (1998, "b"), (2001, "b"), 2999, 3999]
    assert play(Pipeline(specs(hopping("2s"))), *steps) == [("b", 2, 0, 2000), ("late", 1998), ("b", 1, 2000, 4000)]


def test_late_rows_of_sliding_windows_enter_those_that_are_open() -> None:
    steps = [
        *[(1000, "b"), 1999, (2000, "b"), 3000, (3001, "a"), (2400, "b"), (2400, "b"), (3001, "a"), (3900, "b"), 6000],
        *[(3001, "a"), 25000],
    ]
    assert play(Pipeline(specs(hopping("1s", "3s"))), *steps) == [
        ("b", 1, -1000, 2000),
        ("b", 2, 0, 3000),
        *[("a", 2, 1000, 4000), ("a", 2, 2000, 5000), ("a", 2, 3000, 6000)],
        *[("b", 1, 3000, 6000), ("b", 4, 2000, 5000), ("b", 5, 1000, 4000)],
        ("late", 3001),
    ]


SESSION_STEPS = [
    *[(1000, "b"), 1999, (2000, "b"), 4998, (4500, "b"), (8500, "b"), 7400, (7000, "b"), 11501, (11600, "b"), 14600],
    *[(10000, "b"), (14500, "b"), 20000, 100000],
]


def test_sessions_within_a_short_allowed_lateness() -> None:
    """The first session is gone when the late row comes, the second one is not and is taken back."""
    assert play(Pipeline(specs(session("3s"), lateness_ms=10)), *SESSION_STEPS) == [
        (0, "b", 5, 1000, 11500),
        (0, "b", 1, 11600, 14600),
        (0, "b", 2, 10000, 14600),
        (3, "b", 1, 11600, 14600),
        (1, "b", 2, 10000, 14600),
        (2, "b", 3, 10000, 17500),
    ]


def test_sessions_within_a_long_allowed_lateness_all_merge() -> None:
    assert play(Pipeline(specs(session("3s"), lateness_ms=10_000)), *SESSION_STEPS) == [
        (0, "b", 5, 1000, 11500),
        (0, "b", 1, 11600, 14600),
        (1, "b", 5, 1000, 11500),
        (2, "b", 7, 1000, 14600),
        (3, "b", 1, 11600, 14600),
        (1, "b", 7, 1000, 14600),
        (2, "b", 8, 1000, 17500),
    ]


def test_every_so_many_rows_a_session_gives_an_early_result() -> None:
    """Two sessions of three rows that a seventh row joins: their counts add up."""
    early = Pipeline(specs(session("3s"), trigger=EveryRows(4), lateness_ms=0))
    steps = [(10, "a"), (1000, "a"), (2500, "a"), (6000, "a"), (6500, "a"), (7000, "a")]
    assert play(early, *steps) == []
    assert play(early, (4500, "a")) == [(0, "a", 7, 10, 10000)]


def test_early_results_come_at_multiples_of_the_interval_and_only_when_something_changed() -> None:
    trigger = EveryDuration(Duration.parse("10s"))
    pipeline = Pipeline(specs(hopping("1m"), trigger=trigger))
    operator = pipeline.keyed[0]
    assert operator.next_timer_us is None
    pipeline.add(rows_frame([(1, "a", 1)]))
    assert operator.next_timer_us is not None
    pipeline.tick(1_003_000_000)
    assert operator.next_timer_us == 1_010_000_000
    assert pipeline.frames() == []
    pipeline.tick(1_009_999_999)
    assert pipeline.frames() == []
    pipeline.tick(1_012_000_000)
    assert pipeline.frames()[-1].select("n", ROW_KIND).rows() == [(1, 0)]
    assert operator.next_timer_us is None
    pipeline.add(rows_frame([(2, "a", 1)]))
    pipeline.tick(1_013_000_000)
    pipeline.tick(1_020_000_000)
    assert pipeline.frames()[-1].select("n", ROW_KIND).rows() == [(1, 1), (2, 2)]
    pipeline.end()
    assert len(pipeline.frames()) == 2, "the last early result was right already"


def test_an_update_that_changes_nothing_is_not_given() -> None:
    pipeline = Pipeline(specs(hopping("10ms"), aggregates=[pl.col("v").max()], lateness_ms=5))
    pipeline.add(rows_frame([(1, "a", 7), (2, "b", float("nan") and None)]))
    pipeline.advance(11_000)
    pipeline.add(rows_frame([(3, "a", 2), (4, "b", None)]))
    assert len(pipeline.frames()) == 1
    pipeline.add(rows_frame([(3, "a", 9), (4, "b", 1)]))
    assert pipeline.frames()[-1].select("k", "v", ROW_KIND).rows() == [
        ("a", 7, 1),
        ("a", 9, 2),
        ("b", None, 1),
        ("b", 1, 2),
    ]


def test_an_early_result_of_a_long_session_is_taken_back_when_it_is_long_past() -> None:
    """The session goes on for a while after its early results, and the watermark passes the ends that those had."""
    pipeline = Pipeline(specs(session("10ms"), trigger=EveryDuration(Duration.parse("1s"))))
    now = 0
    for at in range(0, 100, 5):
        pipeline.add(rows_frame([(at, "a", 1)]))
        pipeline.advance((at - 3) * 1000)
        if at in {5, 10, 25, 40}:
            for _ in range(2):
                now += 1_000_000
                pipeline.tick(now)
        if at == 60:
            pipeline.restart(2)
    assert pipeline.table() == {("a", 0, 50, 9, 9, 1): 1}
    pipeline.end()
    assert pipeline.table() == {("a", 0, 105, 20, 20, 1): 1}


def test_rows_in_are_rows_in_windows_and_late_ones() -> None:
    pipeline = Pipeline(specs(hopping("10ms"), lateness_ms=3))
    rows = [(at * 37 % 100, "ab"[at % 2], 1) for at in range(200)]
    for at in range(0, 200, 10):
        pipeline.add(rows_frame(rows[at : at + 10]))
        pipeline.advance((at // 3) * 1000)
    pipeline.end()
    late = sum(pipeline.late().values())
    assert late > 0
    assert pipeline.results()["n"].sum() + late == 200
    assert pipeline.keyed[0].metrics()["late_rows"] == late


def test_late_rows_come_whole_as_they_entered() -> None:
    schema = pl.Schema({**SCHEMA, "more": pl.List(pl.Int64)})
    parts = specs(hopping("10ms"), schema=schema, keys=(pl.col("k").str.to_uppercase(),))
    pipeline = Pipeline(parts)
    pipeline.advance(50_000)
    frame = rows_frame([(1, "a", 5), (70, "b", 6)]).with_columns(more=pl.lit([1, 2]))
    pipeline.add(frame)
    assert_frame_equal(pipeline.frames(LATE_ROWS)[0], frame.head(1))
    pipeline.end()
    assert pipeline.frames()[0]["k"].to_list() == ["B"]


def test_rows_travel_combined_unless_their_window_may_be_closed() -> None:
    local, keys, _ = specs(hopping("10ms"))
    operator = local.build(HERE)
    assert operator.accepts_lazy
    rows = rows_frame([(3, "a", 1), (13, "a", 1), (14, "a", 1), (17, "b", 1)])
    (only,) = operator.process(Batch(rows.lazy(), ingested_us=3))
    assert isinstance(only, Batch)
    assert (only.tag, only.ingested_us, only.collected().height) == (MAIN, 3, 3)
    assert set(keys) <= set(only.collected().columns)
    assert operator.on_watermark(9_000) == [Watermark(9_000)]
    combined, single = operator.process(Batch(rows))
    assert isinstance(combined, Batch)
    assert isinstance(single, Batch)
    assert combined.collected().height == 2
    assert single.tag == UNAGGREGATED
    assert_frame_equal(single.collected().select(SCHEMA.names()), rows.head(1))
    again = local.build(HERE, operator.snapshot())
    assert [m.tag for m in again.process(Batch(rows)) if isinstance(m, Batch)] == [MAIN, UNAGGREGATED]


def test_large_batches_are_combined_alike() -> None:
    local, keys, _ = specs(hopping("1s"))
    rows = rows_frame([(at % 5000, "abc"[at % 3], at % 7) for at in range(30_000)])
    whole = [m.collected() for m in local.build(HERE).process(Batch(rows)) if isinstance(m, Batch)]
    parts = [
        m.collected() for at in range(0, 30_000, 9000) for m in local.build(HERE).process(Batch(rows[at : at + 9000]))
    ]
    by = [*keys, "__sl_pane"]
    merged = pl.concat(parts).group_by(by).agg(local.plan.split.merge)
    assert_frame_equal(whole[0].sort(by), merged.sort(by), check_column_order=False)


def test_nothing_in_nothing_out() -> None:
    for windows in (hopping("5ms"), hopping("5ms", "3ms"), session("5ms")):
        pipeline = Pipeline(specs(windows))
        pipeline.add(rows_frame([]))
        pipeline.add(rows_frame([]).lazy())
        assert pipeline.keyed[0].process(Batch(rows_frame([]), UNAGGREGATED)) == []
        pipeline.advance(5000)
        pipeline.advance(5000)
        pipeline.end()
        assert pipeline.frames() == []
        assert len(pipeline.promises()) == 2


def test_combined_rows_behind_the_watermark_are_a_bug() -> None:
    for windows in (hopping("10ms"), session("10ms")):
        local, _, keyed = specs(windows)
        operator = keyed.build(HERE)
        operator.on_watermark(500_000)
        (batch,) = local.build(HERE).process(Batch(rows_frame([(1, "a", 1)])))
        assert isinstance(batch, Batch)
        with pytest.raises(InternalError, match="local watermark"):
            operator.process(batch)


def test_inputs_that_can_be_idle_send_rows() -> None:
    """Then a subtask that wakes up behind the others gives its late rows to the side output."""
    pipeline = Pipeline(specs(hopping("10ms"), combines=False), senders=2)
    for operator in pipeline.keyed:
        operator.on_watermark(500_000)
    pipeline.add(rows_frame([(1, "a", 1), (600, "a", 1)]), sender=1)
    assert sum(pipeline.late().values()) == 1


def test_snapshots_do_not_change() -> None:
    pipeline = Pipeline(specs(session("3ms"), lateness_ms=5))
    pipeline.add(rows_frame([(1, "a", 1), (9, "b", 1)]))
    pipeline.advance(6_000)
    snapshot = pipeline.keyed[0].snapshot()
    copies = {name: [frame.clone() for frame in frames] for name, frames in snapshot.keyed.items()}
    pipeline.add(rows_frame([(3, "a", 1), (10, "b", 1)]))
    pipeline.end()
    assert snapshot.key_columns == ("__sl_key_k",)
    for name, frames in copies.items():
        for frame, copy in zip(snapshot.keyed[name], frames, strict=True):
            assert_frame_equal(frame, copy)
            assert "__sl_key_k" in frame.columns


@pytest.mark.parametrize(
    "windows", [hopping("10ms"), hopping("5ms", "20ms"), cumulative("5ms", "20ms"), session("5ms")]
)
@pytest.mark.parametrize("aggregates", [AGGREGATES, [pl.col("v").median()]], ids=["incremental", "buffered"])
def test_state_is_dropped_with_its_windows(windows: object, aggregates: list[pl.Expr]) -> None:
    for lateness_ms in (0, 20):
        pipeline = Pipeline(specs(windows, aggregates=aggregates, lateness_ms=lateness_ms))
        for at in range(0, 1000, 20):
            pipeline.add(rows_frame([(at + i, "ab"[i % 2], 1) for i in range(0, 10, 3)]))
            pipeline.advance(at * 1000)
            assert pipeline.keyed[0].metrics()["state_rows"] < 60
        pipeline.end()
        assert pipeline.keyed[0].metrics()["state_rows"] == 0


def test_specs_are_values() -> None:
    local, keys, keyed = specs(cumulative("1d", "1mo"), trigger=EveryRows(3))
    for spec in (local, keyed):
        again = pickle.loads(pickle.dumps(spec))
        assert repr(again) == repr(spec)
        assert str(spec).startswith("windows")
    copied = pickle.loads(pickle.dumps(keyed))
    assert isinstance(copied, WindowAggregateSpec)
    assert copied.plan.key_columns == keys == ("__sl_key_k",)
    assert copied.build(HERE, Snapshot()).on_watermark(MAX_TIME_US) == [Watermark(MAX_TIME_US)]


@pytest.mark.parametrize(
    "key",
    [
        pl.col("k").cast(pl.Categorical),
        pl.col("k").cast(pl.Enum(["a", "b"])),
        pl.struct("k", "v"),
        pl.concat_list("v", "v"),
        pl.col("v") / 0,
        pl.col("k").is_null(),
    ],
    ids=["categorical", "enum", "struct", "list", "NaN and infinity", "boolean"],
)
@pytest.mark.parametrize("windows", [hopping("10ms", "20ms"), session("5ms")])
def test_keys_of_any_dtype(key: pl.Expr, windows: object) -> None:
    rows = [(at, k, v) for at in range(0, 60, 7) for k in ("a", "b", None) for v in (0, 1, None)]
    split = Pipeline(specs(windows, keys=(key.alias("key"),), lateness_ms=4), receivers=3)
    whole = Pipeline(specs(windows, keys=(key.alias("key"),), lateness_ms=4))
    for at in range(0, len(rows), 9):
        for pipeline in (split, whole):
            pipeline.add(rows_frame(rows[at : at + 9]))
            pipeline.advance(rows[at][0] * 1000)
        split.restart(2)
    for pipeline in (split, whole):
        pipeline.end()
    assert whole.results().height > 10
    by = ["key", "_upper_boundary", "t"]
    assert_frame_equal(split.results().sort(by), whole.results().sort(by))
