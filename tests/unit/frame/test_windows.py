"""Watermarks, group_by and windows: what they put into the plan, and what they refuse."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from streamlab.core.errors import OptionError, PlanError
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import (
    CumulativeWindows,
    EveryDuration,
    EveryRows,
    HoppingWindows,
    SessionWindows,
)
from streamlab.frame.join import concat
from streamlab.frame.stream_frame import StreamFrame
from streamlab.frame.triggers import every, every_rows
from streamlab.plan import nodes

HOUR = Duration.parse("1h")
NONE = Duration("0us", 0)

SAME_AS_POLARS = {
    "agg": lambda f: f.group_by_dynamic("ts", every="1h").agg(pl.len(), pl.col("delay").mean()),
    "named": lambda f: f.group_by_dynamic("ts", every="1h", group_by="carrier").agg(x=pl.col("delay").sum()),
    "keys": lambda f: f.group_by_dynamic("ts", every="1h", group_by=["carrier", pl.col("n") % 2]).agg(pl.len()),
    "column": lambda f: f.group_by_dynamic(pl.col("ts"), every="1mo", period="2mo", offset="1d").agg("n"),
    "boundaries": lambda f: f.group_by_dynamic("ts", every="1h", include_boundaries=True, group_by="n").agg(pl.len()),
    "defaults": lambda f: f.group_by_dynamic(
        "ts", every=dt.timedelta(hours=1), closed="left", label="left", start_by="window"
    ).len(name="flights"),
    "group_by": lambda f: f.group_by("carrier").agg(pl.col("delay").quantile(0.9), pl.col("n").max()),
    "group_by_expression": lambda f: f.group_by(pl.col("n") % 2, day=pl.col("ts").dt.date()).agg(pl.len()),
    "group_by_list": lambda f: f.group_by(["carrier", "n"]).len(),
    "group_by_nothing": lambda f: f.group_by("carrier").agg(),
    "all": lambda f: f.group_by("carrier").all(),
    "sum": lambda f: f.select("carrier", "n", "delay").group_by("carrier").sum(),
    "mean": lambda f: f.select("carrier", "n", "delay").group_by("carrier").mean(),
    "min": lambda f: f.select("carrier", "n", "delay").group_by("carrier").min(),
    "max": lambda f: f.select("carrier", "n", "delay").group_by("carrier").max(),
    "median": lambda f: f.select("carrier", "n", "delay").group_by("carrier").median(),
    "quantile": lambda f: f.select("carrier", "n", "delay").group_by("carrier").quantile(0.5, "linear"),
    "n_unique": lambda f: f.group_by("carrier").n_unique(),
    "first": lambda f: f.group_by("carrier").first(),
    "last": lambda f: f.group_by_dynamic("ts", every="1h").last(ignore_nulls=True),
    "having": lambda f: f.group_by("carrier").having(pl.len() > 2, pl.col("n").sum() > 1).agg(pl.col("delay").mean()),
    "lists": lambda f: f.group_by("carrier").agg(pl.col("delay").head(3)),
}


@pytest.mark.parametrize("query", SAME_AS_POLARS.values(), ids=SAME_AS_POLARS.keys())
def test_schema_is_polars_own(flights: StreamFrame, query) -> None:
    expected = query(pl.LazyFrame(schema=flights.schema)).collect_schema()

    assert list(query(flights).schema.items()) == list(expected.items())


def test_count_has_no_like_in_polars(flights: StreamFrame) -> None:
    assert flights.select("carrier", "n").group_by("carrier").count().schema == {"carrier": pl.String, "n": pl.UInt32}


def test_dynamic_windows_in_the_plan(flights: StreamFrame) -> None:
    tumbling = flights.group_by_dynamic("ts", every="1h").agg(pl.len()).plan
    hopping = flights.group_by_dynamic(
        "ts", every="1h", period="2h", offset="-5m", allowed_lateness="90s", trigger=every_rows(5), group_by="n"
    )
    node = hopping.agg(pl.len()).plan

    assert isinstance(tumbling, nodes.WindowAggregate)
    assert tumbling.windows == HoppingWindows(HOUR, HOUR, NONE)
    assert (tumbling.trigger, tumbling.allowed_lateness_us, tumbling.include_boundaries) == (None, 0, False)
    assert not tumbling.updating
    assert isinstance(node, nodes.WindowAggregate)
    assert node.windows == HoppingWindows(HOUR, Duration.parse("2h"), Duration.parse("-5m"))
    assert (node.trigger, node.allowed_lateness_us) == (EveryRows(5), 90_000_000)
    assert [str(key) for key in node.keys] == ['col("n")']
    assert node.updating
    assert node.event_time == "ts"


def test_session_windows_in_the_plan(flights: StreamFrame) -> None:
    node = flights.group_by_session("ts", gap="30m", group_by="carrier").agg(pl.len()).plan

    assert isinstance(node, nodes.WindowAggregate)
    assert node.windows == SessionWindows(Duration.parse("30m"))
    assert node.schema.names() == ["carrier", "ts", "len"]


def test_cumulative_windows_in_the_plan(flights: StreamFrame) -> None:
    node = flights.group_by_cumulative("ts", step="10m", every="1h", group_by="carrier").agg(pl.len()).plan

    assert isinstance(node, nodes.WindowAggregate)
    assert node.windows == CumulativeWindows(Duration.parse("10m"), HOUR, NONE)
    assert node.schema.names() == ["carrier", "_lower_boundary", "_upper_boundary", "ts", "len"]
    short = flights.group_by_cumulative("ts", step="10m", every="1h", include_boundaries=False).agg(pl.len())
    assert short.columns == ["ts", "len"]


def test_having_adds_a_filter_behind_the_aggregate(flights: StreamFrame) -> None:
    plan = flights.group_by("carrier").having(pl.len() > 2).agg(pl.col("n").sum()).plan

    assert [node.step for node in plan.walk()] == ["flights", "group_by", "having", "having"]


def test_with_watermark(flights: StreamFrame) -> None:
    node = flights.with_watermark("ts", "1h", idle_timeout=dt.timedelta(seconds=5)).plan

    assert isinstance(node, nodes.AssignWatermarks)
    assert (node.column, node.event_time, node.delay) == ("ts", "ts", HOUR)
    assert node.idle_timeout == Duration("5000000us", 5_000_000)


def test_a_declared_column_takes_the_place_of_another(make_stream) -> None:
    stream = make_stream(pl.Schema({"ts": pl.Datetime("us"), "arrival": pl.Date}), endless=True)

    windows = stream.with_watermark("arrival", "1d").group_by_dynamic("arrival", every="1w").agg(pl.len())

    assert windows.plan.event_time == "arrival"


@pytest.mark.parametrize("endless", [False, True])
def test_windows_of_windows(make_stream, endless: bool) -> None:
    hourly = make_stream(endless=endless).group_by_dynamic("ts", every="1h").agg(pl.len().alias("n"))

    daily = hourly.group_by_dynamic("ts", every="1d").agg(pl.col("n").max())

    assert daily.columns == ["ts", "n"]


def test_bounded_streams_need_no_watermark(make_stream) -> None:
    undeclared = make_stream(event_time=None)
    unmarked = make_stream(watermark=None)
    shortened = make_stream(endless=True, watermark=None).head(10)

    for stream in (undeclared, unmarked, shortened):
        assert stream.group_by_dynamic("ts", every="1h").agg(pl.len()).columns == ["ts", "len"]


FORBIDDEN = {
    "no watermark": (
        {"endless": True, "watermark": None},
        lambda f: f.group_by_dynamic("ts", every="1h"),
        ["group_by_dynamic", "never fire", ".with_watermark('ts', '10s')"],
    ),
    "no event time": (
        {"endless": True, "event_time": None},
        lambda f: f.group_by_session("ts", gap="1h"),
        ["group_by_session", "no event time", "with_watermark('ts'"],
    ),
    "other column": (
        {"schema": pl.Schema({"ts": pl.Datetime("us"), "arrival": pl.Datetime("us")})},
        lambda f: f.group_by_dynamic("arrival", every="1h"),
        ["group_by_dynamic", "'arrival'", "event time is 'ts'", "with_watermark('arrival'"],
    ),
    "no time": ({}, lambda f: f.group_by_dynamic("carrier", every="1h"), ["'carrier'", "a String", "str.to_datetime"]),
    "a number": ({}, lambda f: f.group_by_cumulative("n", step="1m", every="1h"), ["'n'", "Int64", "from_epoch"]),
    "a float": ({}, lambda f: f.with_watermark("delay", "1h"), ["with_watermark", "'delay'", "ts Datetime(us)"]),
    "missing": (
        {},
        lambda f: f.group_by_dynamic("tss", every="1h"),
        ["group_by_dynamic", "'tss'", "did you mean 'ts'"],
    ),
    "dropped": ({}, lambda f: f.drop("ts").group_by_dynamic("ts", every="1h"), ["'ts'", "n Int64"]),
    "missing watermark": ({}, lambda f: f.with_watermark("time", "1h"), ["with_watermark", "'time'"]),
    "computed": ({}, lambda f: f.group_by_dynamic(pl.col("ts").dt.round("1s"), every="1h"), ["plain column", "round"]),
    "renamed": ({}, lambda f: f.group_by_dynamic(pl.col("ts").alias("t"), every="1h"), ["plain column"]),
    "two columns": ({}, lambda f: f.group_by_dynamic(["ts", "n"], every="1h"), ["one column"]),
    "closed": ({}, lambda f: f.group_by_dynamic("ts", every="1h", closed="right"), ["closed='left'", "closed='right'"]),
    "label": (
        {},
        lambda f: f.group_by_dynamic("ts", every="1h", label="right"),
        ["label='left'", "include_boundaries"],
    ),
    "start_by": ({}, lambda f: f.group_by_dynamic("ts", every="1h", start_by="datapoint"), ["start_by='window'"]),
    "key": ({}, lambda f: f.group_by_dynamic("ts", every="1h", group_by="carier"), ["group_by_dynamic", "'carier'"]),
    "key time": (
        {},
        lambda f: f.group_by_dynamic("ts", every="1h", group_by=["n", "ts"]),
        ["'ts'", "besides", "leave it out", "each window's start", ".alias('ts_2')"],
    ),
    "key named time": (
        {},
        lambda f: f.group_by_session("ts", gap="1h", group_by=pl.col("n").alias("ts")),
        ["group_by_session", "'ts'", "besides", ".alias('ts_2')"],
    ),
    "key named boundary": (
        {},
        lambda f: f.group_by_dynamic("ts", every="1h", include_boundaries=True, group_by=_boundary("n")).agg(pl.len()),
        ["'_upper_boundary' for a boundary and for a key", "rename the key: .alias('_upper_boundary_2')"],
    ),
    "key twice": (
        {},
        lambda f: f.group_by("n", pl.col("delay").alias("n")),
        ["group_by", "'n' for a key and for a key", "rename the key: .alias('n_2')"],
    ),
    "key other rows": ({}, lambda f: f.group_by_session("ts", gap="1h", group_by=pl.col("n").rank()), ["rank"]),
    "group_by": ({}, lambda f: f.group_by("x"), ["group_by", "'x'", "carrier String"]),
    "group_by other rows": ({}, lambda f: f.group_by(pl.col("n").shift()), ["group_by", "shift"]),
    "maintain_order": ({}, lambda f: f.group_by("n", maintain_order=True), ["maintain_order=False", "sort"]),
    "agg column": ({}, lambda f: f.group_by("n").agg(pl.col("dela").sum()), ["group_by", "'dela'", "'delay'"]),
    "agg dtype": ({}, lambda f: f.group_by("n").agg(pl.col("carrier").dt.year().sum()), ["group_by", "year", "str"]),
    "agg twice": (
        {},
        lambda f: f.group_by("n").agg(pl.col("delay").sum(), pl.col("delay").max()),
        ["'delay' for an aggregation and for an aggregation", "rename the aggregation: .alias('delay_2')"],
    ),
    "agg named key": (
        {},
        lambda f: f.group_by("n").agg(pl.col("n").max()),
        ["group_by", "'n' for a key and for an aggregation", "rename the aggregation: .alias('n_2')"],
    ),
    "agg named time": (
        {},
        lambda f: f.group_by_cumulative("ts", step="1m", every="1h").agg(pl.col("ts").max()),
        ["group_by_cumulative", "'ts' for the windows' time and for an aggregation", ".alias('ts_2')"],
    ),
    "agg by Python named time": (
        {},
        lambda f: f.group_by_dynamic("ts", every="1h").agg(ts=pl.col("n").map_batches(len, returns_scalar=True)),
        ["'ts' for the windows' time and for an aggregation"],
    ),
    "agg named boundary": (
        {},
        lambda f: f.group_by_dynamic("ts", every="1h", include_boundaries=True).agg(_boundary(pl.len())),
        ["'_upper_boundary' for a boundary and for an aggregation", ".alias('_upper_boundary_2')"],
    ),
    "agg reserved": ({}, lambda f: f.group_by("n").agg(__sl_row=pl.len()), ["__sl_row", "keep for itself"]),
    "window agg": (
        {},
        lambda f: f.group_by_dynamic("ts", every="1h").agg(pl.col("carrier").mean()),
        ["group_by_dynamic", "`mean`", "str"],
    ),
    "having": ({}, lambda f: f.group_by("n").having(pl.len()).agg(pl.len()), ["having", "Boolean", "UInt32"]),
    "having column": ({}, lambda f: f.group_by("n").having(pl.col("x").sum() > 1).agg(), ["having", "'x'"]),
    "map_groups": ({}, lambda f: f.group_by("n").map_groups(len, None), ["map_groups", ".agg"]),
    "group head": ({}, lambda f: f.group_by("n").head(3), ["head", "pl.all().head(3)"]),
    "group tail": ({}, lambda f: f.group_by("n").tail(2), ["tail", "pl.all().tail(2)"]),
    "group iteration": ({}, lambda f: list(f.group_by("n")), ["iteration", "collect"]),
}


def _boundary(what: str | pl.Expr) -> pl.Expr:
    return (pl.col(what) if isinstance(what, str) else what).alias("_upper_boundary")


def test_names_that_only_look_alike_are_free(make_stream) -> None:
    made = make_stream().group_by_dynamic("ts", every="1h", group_by="n")
    made = made.agg(pl.all().first(), pl.len().alias("_upper_boundary"), pl.col("n").max().name.suffix("_max"))

    assert {"ts", "n", "n_max", "_upper_boundary"} < set(made.collect_schema())


@pytest.mark.parametrize(("given", "query", "words"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_wrong_windows_fail_where_they_are_written(make_stream, given, query, words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        query(make_stream(**given))

    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("updating", "step"),
    [
        (lambda f: f.group_by("ts").len(), "group_by"),
        (lambda f: f.group_by_dynamic("ts", every="1h", trigger=every("1s")).agg(pl.len()), "group_by_dynamic"),
        (lambda f: f.group_by_session("ts", gap="1h", allowed_lateness="1h").agg(pl.len()), "group_by_session"),
    ],
)
@pytest.mark.parametrize(
    "query",
    [
        lambda f: f.group_by_dynamic("ts", every="1d"),
        lambda f: f.group_by_session("ts", gap="1d"),
        lambda f: f.filter(pl.col("len") > 0).group_by_cumulative("ts", step="1h", every="1d"),
        lambda f: f.with_watermark("ts", "1h"),
        lambda f: f.head(3),
    ],
)
def test_updating_streams_are_refused_by_name(flights: StreamFrame, updating, step: str, query) -> None:
    with pytest.raises(PlanError, match=f"append-only stream .*'{step}'"):
        query(updating(flights))


def test_updating_streams_can_be_grouped_again(flights: StreamFrame) -> None:
    again = flights.group_by("carrier").len().group_by("len").agg(pl.len().alias("carriers"))

    assert again.columns == ["len", "carriers"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (lambda f: f.group_by_dynamic("ts", every="1 fortnight"), ["group_by_dynamic: every", "'1 fortnight'"]),
        (lambda f: f.group_by_dynamic("ts", every=3600), ["group_by_dynamic: every", "3600"]),
        (lambda f: f.group_by_dynamic("ts", every="0s"), ["every", "longer than 0"]),
        (lambda f: f.group_by_dynamic("ts", every="-1h"), ["every", "longer than 0"]),
        (lambda f: f.group_by_dynamic("ts", every="-1mo"), ["every", "longer than 0"]),
        (lambda f: f.group_by_dynamic("ts", every="1mo2d"), ["every", "1mo2d", "cannot mix"]),
        (lambda f: f.group_by_dynamic("ts", every="1h", period="0h"), ["period", "longer than 0"]),
        (lambda f: f.group_by_dynamic("ts", every="1h", offset="x"), ["offset", "'x'"]),
        (lambda f: f.group_by_dynamic("ts", every="1h", allowed_lateness="-1s"), ["allowed_lateness", "0 or more"]),
        (lambda f: f.group_by_dynamic("ts", every="1h", allowed_lateness="1mo"), ["allowed_lateness", "fixed length"]),
        (lambda f: f.group_by_dynamic("ts", every="1h", trigger="10s"), ["trigger", "sl.every('10s')", "'10s'"]),
        (lambda f: f.group_by_session("ts", gap="0s"), ["group_by_session", "gap", "longer than 0"]),
        (lambda f: f.group_by_session("ts", gap="1mo"), ["gap", "fixed length"]),
        (lambda f: f.group_by_cumulative("ts", step="7m", every="1h"), ["multiple of step", "every=1h", "step=7m"]),
        (lambda f: f.with_watermark("ts", "-1s"), ["with_watermark", "delay", "0 or more"]),
        (lambda f: f.with_watermark("ts", "1h", idle_timeout="0s"), ["idle_timeout", "longer than 0"]),
    ],
)
def test_wrong_durations(flights: StreamFrame, query, words: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        query(flights)

    for word in words:
        assert word in str(caught.value)


def test_triggers() -> None:
    assert every(dt.timedelta(seconds=10)) == EveryDuration(Duration("10000000us", 10_000_000))
    assert every_rows(5) == EveryRows(5)


@pytest.mark.parametrize(
    "make", [lambda: every("0s"), lambda: every("1mo"), lambda: every_rows(0), lambda: every_rows("5")]
)
def test_wrong_triggers(make) -> None:
    with pytest.raises(OptionError, match="every"):
        make()


def test_with_pace(flights: StreamFrame) -> None:
    paced = flights.filter(n=1).with_pace("60x").plan

    assert [n.source.timing.pace for n in paced.walk() if isinstance(n, nodes.Scan)] == [60.0]
    assert [node.step for node in paced.walk()] == ["flights", "filter"]
    assert paced.event_time == "ts"


def test_with_pace_keeps_shared_steps_shared(make_stream) -> None:
    shared = make_stream().filter(n=1)
    both = concat([shared.filter(n=2), shared.filter(n=3)]).with_pace("max")

    assert sum(isinstance(node, nodes.Scan) for node in both.plan.walk()) == 1


def test_with_pace_needs_a_time(make_stream) -> None:
    with pytest.raises(PlanError, match="with_pace: needs a source with an event time"):
        make_stream(event_time=None).with_pace("60x")
    with pytest.raises(OptionError, match="pace"):
        make_stream().with_pace("fast")


def test_a_panic_of_polars_over_no_rows_is_no_refusal(flights: StreamFrame) -> None:
    days = flights.with_columns(day=pl.col("ts").dt.date())
    assert days.group_by("carrier").agg(pl.col("day").quantile(0.3)).schema["day"] == pl.Datetime("us")
