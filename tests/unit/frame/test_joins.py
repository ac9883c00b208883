"""Static joins and unions: schemas, the plan, and what they refuse."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import OptionError, PlanError
from streamlab.frame.join import concat
from streamlab.frame.stream_frame import StreamFrame
from streamlab.plan import nodes

AIRLINES = pl.DataFrame({"carrier": ["UA", "AA"], "name": ["United", "American"], "n": [1, 2]})

SAME_AS_POLARS = {
    "on": {"on": "carrier"},
    "several": {"on": ["carrier", "n"]},
    "expression": {"left_on": pl.col("carrier").str.to_uppercase(), "right_on": "carrier", "how": "left"},
    "other names": {"left_on": "carrier", "right_on": "name", "how": "left", "coalesce": False},
    "suffix": {"on": "carrier", "suffix": "_airline", "how": "left"},
    "semi": {"on": "carrier", "how": "semi"},
    "anti": {"on": "carrier", "how": "anti", "nulls_equal": True},
    "advice": {"on": "carrier", "maintain_order": "left", "build_side": "auto", "allow_parallel": False},
    "validated": {"on": "carrier", "validate": "m:1"},
}


@pytest.mark.parametrize("given", SAME_AS_POLARS.values(), ids=SAME_AS_POLARS.keys())
def test_schema_is_polars_own(flights: StreamFrame, given) -> None:
    expected = pl.LazyFrame(schema=flights.schema).join(AIRLINES.lazy(), **given).collect_schema()

    joined = flights.join(AIRLINES, **given)

    assert list(joined.schema.items()) == list(expected.items())
    assert joined.plan.event_time == "ts"


@pytest.mark.parametrize("other", [AIRLINES.lazy(), AIRLINES.to_pandas()])
def test_any_static_frame(flights: StreamFrame, other: pl.LazyFrame | pd.DataFrame) -> None:
    node = flights.join(other, on="carrier", how="left").plan

    assert isinstance(node, nodes.StaticJoin)
    assert node.right.rows() == AIRLINES.rows()
    assert node.how == "left"
    assert node.kwargs == {"suffix": "_right", "validate": "m:m", "nulls_equal": False, "coalesce": None}


FORBIDDEN = {
    "streams, no kind": (lambda f: f.join(f, on="carrier", how="cros"), ["'semi' or 'anti'", "'cros'"]),
    "streams, cross": (lambda f: f.join(f, on="carrier", how="cross"), ["'cross'", "one value"]),
    "streams, dtypes": (
        lambda f: f.join(f.with_columns(pl.col("carrier").str.len_chars()), on="carrier"),
        ["keys of one dtype", "String", "UInt32", "cast one of them"],
    ),
    "streams, no column": (
        lambda f: f.join(f.rename({"carrier": "airline"}), on="carrier"),
        ["the right stream", "'carrier'", "airline"],
    ),
    "streams, other rows": (
        lambda f: f.join(f, left_on=pl.col("carrier").shift(), right_on="carrier"),
        ["the left stream", "shift"],
    ),
    "streams, numbers of keys": (lambda f: f.join(f, left_on=["carrier"], right_on=[]), ["as many keys", "1", "0"]),
    "streams, validate": (lambda f: f.join(f, on="carrier", validate="m:1"), ["validate='m:1'"]),
    "streams, order": (lambda f: f.join(f, on="carrier", maintain_order="left"), ["maintain_order='left'"]),
    "no frame": (lambda f: f.join({"carrier": ["UA"]}, on="carrier"), ["join", "a dict"]),
    "series": (lambda f: f.join(pd.Series([1]), on="carrier"), ["join", "a Series"]),
    "broken lazy": (lambda f: f.join(AIRLINES.lazy().select("x"), on="carrier"), ["static frame", "x"]),
    "right": (lambda f: f.join(AIRLINES, on="carrier", how="right"), ["how='inner'", "'right'", "ended"]),
    "full": (lambda f: f.join(AIRLINES, on="carrier", how="full"), ["'full'", "how='left'"]),
    "cross": (lambda f: f.join(AIRLINES, how="cross"), ["'cross'", "one value"]),
    "1:1": (lambda f: f.join(AIRLINES, on="carrier", validate="1:1"), ["validate", "'1:1'"]),
    "order": (lambda f: f.join(AIRLINES, on="carrier", maintain_order="right"), ["maintain_order", "'right'"]),
    "no key": (lambda f: f.join(AIRLINES), ["either on=", "neither"]),
    "half a key": (lambda f: f.join(AIRLINES, left_on="carrier"), ["either on=", "left_on"]),
    "too many": (lambda f: f.join(AIRLINES, on="n", left_on="n", right_on="n"), ["on and left_on and right_on"]),
    "unequal": (lambda f: f.join(AIRLINES, left_on=["n", "carrier"], right_on="n"), ["2 of the stream and 1"]),
    "left key": (lambda f: f.join(AIRLINES, on="name"), ["join", "'name'", "carrier String", "delay"]),
    "right key": (lambda f: f.join(AIRLINES, on="delay"), ["static frame", "'delay'", "name String"]),
    "dtype": (lambda f: f.join(AIRLINES, left_on="n", right_on="carrier"), ["Int64", "String", "cast"]),
    "other rows": (lambda f: f.join(AIRLINES, left_on=pl.col("n").shift(), right_on="n"), ["shift"]),
    "reserved": (lambda f: f.join(AIRLINES.rename({"n": "__sl_row"}), on="carrier"), ["__sl_row"]),
}


@pytest.mark.parametrize(("query", "words"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_wrong_joins_fail_where_they_are_written(flights: StreamFrame, query, words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        query(flights)

    for word in words:
        assert word in str(caught.value)


def test_concat(make_stream) -> None:
    both = concat([make_stream(), make_stream(endless=True)], how="vertical", rechunk=True)

    assert isinstance(both.plan, nodes.Union)
    assert len(both.plan.branches) == 2
    assert both.schema == make_stream().schema
    assert both.plan.event_time == "ts"
    assert not both.plan.bounded


def test_concat_of_one_is_that_one(flights: StreamFrame) -> None:
    assert concat([flights]) is flights


def test_concat_of_different_event_times_has_none(flights: StreamFrame) -> None:
    assert concat([flights, flights.with_columns(ts=pl.lit(None, pl.Datetime("us")))]).plan.event_time is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda f: f.drop("n"), ["stream 2", "no column 'n'"]),
        (lambda f: f.with_columns(x=1), ["stream 2", "also 'x'"]),
        (lambda f: f.cast({"n": pl.Int32}), ["'n' as Int32 instead of Int64", "cast"]),
        (lambda f: f.select(*reversed(f.columns)), ["another order: place"]),
    ],
)
def test_concat_lists_differences(flights: StreamFrame, other, words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        concat([flights, other(flights)])

    for word in ["concat", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f: concat([f, f], how="diagonal"), PlanError, "how='vertical'"),
        (lambda f: concat([f, pl.DataFrame()]), PlanError, "sl.from_frame"),
        (lambda f: concat([]), OptionError, "at least one"),
        (lambda f: concat([f, f], sideways=True), TypeError, "sideways"),
    ],
)
def test_concat_checks_its_arguments(flights: StreamFrame, call, error, words: str) -> None:
    with pytest.raises(error, match=words):
        call(flights)


def test_concat_mixes_no_updating_and_appending_streams(flights: StreamFrame) -> None:
    counted = flights.group_by("carrier").len()
    windows = flights.group_by_dynamic("ts", every="1h").agg(pl.len()).select(pl.lit("x").alias("carrier"), "len")

    with pytest.raises(PlanError, match="stream 1 is an updating one"):
        concat([counted, windows])
    assert concat([counted, counted]).plan.updating


def test_concat_wants_a_list(flights: StreamFrame) -> None:
    with pytest.raises(PlanError, match="concat: needs a list of streams, got a single one"):
        concat(flights)


def test_an_upsert_by_keys_of_which_nothing_is_known_warns_before_anything_runs(tmp_path):
    """A join may give two rows with one key; warnings are errors in tests, so no job starts."""
    stream = sl.from_frame(AIRLINES)
    joined = stream.join(stream, on="name", how="full")
    with pytest.raises(UserWarning, match=r"sink_sqlite: needs keys that no two rows .* could take another's place"):
        joined.sink_sqlite(tmp_path / "t.db", "t", mode="upsert", keys="carrier")
