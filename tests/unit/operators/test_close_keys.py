"""Rows whose keys are whole numbers close together are combined by place: as Polars groups them, or not at all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.core.changelog import ROW_KIND, RowKind
from streamlab.core.messages import Batch
from streamlab.operators.base import OperatorContext
from streamlab.operators.group_aggregate import GroupPlan, group_operators
from streamlab.operators.group_aggregate.close_keys import CloseKeys
from streamlab.plan.expressions.split import split_aggregates

SCHEMA = pl.Schema(
    {
        "k": pl.Int64,
        "small": pl.Int8,
        "x": pl.Float64,
        "i": pl.Int32,
        "l": pl.Int64,
        "b": pl.Boolean,
        "t": pl.Datetime("us"),
    }
)
AGGREGATES = {
    "rows": pl.len(),
    "total": pl.col("x").sum(),
    "mean": pl.col("x").mean(),
    "whole": pl.col("i").sum(),
    "long": pl.col("l").sum(),
    "least": pl.col("i").min(),
    "most": pl.col("x").max(),
    "twice": (pl.col("x") * 2).sum(),
    "true": pl.col("b").sum(),
    "there": pl.col("i").count(),
    "last time": pl.col("t").max(),
    "key itself": pl.col("k").max(),
}


def plan_of(names: list[str], key: str = "k") -> GroupPlan:
    keys = (pl.col(key),)
    split = split_aggregates(keys, [AGGREGATES[name].alias(name) for name in names], SCHEMA)
    return GroupPlan("g", keys, split, SCHEMA, updating=False)


def frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, SCHEMA, orient="row")


ROWS = st.lists(
    st.tuples(
        st.integers(-5, 5),
        st.integers(-3, 3),
        st.one_of(st.none(), st.integers(-9, 9).map(float)),
        st.one_of(st.none(), st.integers(-9, 9)),
        st.integers(-(2**40), 2**40),
        st.one_of(st.none(), st.booleans()),
        st.just(datetime(2024, 1, 1)),  # noqa: DTZ001 - naive, as most data are
    ),
    min_size=1,
    max_size=30,
)


def partials(plan: GroupPlan, rows: pl.DataFrame) -> tuple[pl.DataFrame | None, pl.DataFrame]:
    """Return the partial results by place, if there are any, and as Polars has them."""
    close = CloseKeys(plan)
    singles = close.singles(rows.lazy())
    found, grouped = close.combined(singles), close.grouped(singles)
    wanted = plan.combined(rows.lazy(), maintain_order=False).collect()
    assert_frame_equal(grouped, wanted, check_row_order=False)
    return found, wanted


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, names=st.lists(st.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=5, unique=True))
@pytest.mark.parametrize("key", ["k", "small"])
def test_partial_results_are_those_of_polars(key: str, rows: list[tuple[Any, ...]], names: list[str]) -> None:
    plan = plan_of(names, key)
    assert CloseKeys.fits(plan)
    found, wanted = partials(plan, frame(rows))
    # Only a null among extremes is a reason to group.
    assert found is not None or {"least", "most", "last time"} & set(names)
    if found is not None:
        assert_frame_equal(found, wanted.sort(key))


ONE = (1, 1, 1.0, 1, 1, True, None)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["rows"], [ONE, (None, *ONE[1:])]),
        (["rows"], [ONE, (10**9, *ONE[1:])]),
        (["most"], [ONE, (1, 1, float("nan"), 1, 1, True, None)]),
        (["least"], [ONE, (1, 1, 1.0, None, 1, True, None)]),
        (["long"], [(1, 1, 1.0, 1, 2**62, True, None)] * 4),
        (["rows"], []),
    ],
    ids=["null key", "far apart", "NaN among extremes", "null among extremes", "sums past 64 bits", "no rows"],
)
def test_what_is_left_to_polars(names: list[str], rows: list[tuple[Any, ...]]) -> None:
    found, _ = partials(plan_of(names), frame(rows))
    assert found is None


@pytest.mark.parametrize(
    "key", [pl.col("x"), pl.col("b"), pl.col("t"), pl.col("i").cast(pl.UInt64).alias("u"), pl.col("i").cast(pl.String)]
)
def test_keys_that_are_no_whole_numbers_are_grouped(key: pl.Expr) -> None:
    split = split_aggregates((key,), [pl.len()], SCHEMA)
    assert not CloseKeys.fits(GroupPlan("g", (key,), split, SCHEMA, updating=False))


def test_two_keys_and_what_single_rows_do_not_have_are_grouped() -> None:
    both = (pl.col("k"), pl.col("small"))
    assert not CloseKeys.fits(GroupPlan("g", both, split_aggregates(both, [pl.len()], SCHEMA), SCHEMA, updating=False))
    for aggregate in (pl.col("x").var(), pl.col("x").first()):
        split = split_aggregates((pl.col("k"),), [aggregate], SCHEMA)
        assert not CloseKeys.fits(GroupPlan("g", (pl.col("k"),), split, SCHEMA, updating=False))


def test_results_of_a_batch_stay_when_the_next_one_comes() -> None:
    close = CloseKeys(plan_of(["rows", "total", "whole"]))
    batches = [frame([(k, 1, float(k), k, 1, True, None) for k in keys]) for keys in ([1, 2, 3], [3, 2, 2], [1, 3, 3])]
    given_ = [close.combined(close.singles(batch.lazy())) for batch in batches]
    fresh = [CloseKeys(plan_of(["rows", "total", "whole"])) for _ in batches]
    for got, batch, alone in zip(given_, batches, fresh, strict=True):
        assert got is not None
        wanted = alone.combined(alone.singles(batch.lazy()))
        assert wanted is not None
        assert_frame_equal(got, wanted)


def test_keys_that_lie_far_apart_are_tried_again_after_some_batches() -> None:
    split = split_aggregates((pl.col("k"),), [pl.len().alias("n")], SCHEMA)
    before, _, _ = group_operators("g", keys=[pl.col("k")], split=split, input_schema=SCHEMA, updating=False)
    local = before.build(OperatorContext())
    far, near = frame([ONE, (10**9, *ONE[1:])]), frame([ONE, ONE])
    for rows in (far, *[near] * 20, far):
        (message,) = local.process(Batch(rows))
        assert isinstance(message, Batch)
        assert message.collected()["__sl_p0"].sum() == rows.height


@settings(deadline=None, max_examples=25)
@given(batches=st.lists(st.lists(st.integers(-40, 40), min_size=1, max_size=40), min_size=1, max_size=6))
def test_changes_of_keys_that_come_by_place(batches: list[list[int]]) -> None:
    """Rows as they were are not asked for, so sums are added to the state as they come."""
    split = split_aggregates((pl.col("k"),), [pl.len().alias("n"), pl.col("x").sum().alias("s")], SCHEMA)
    before, _, behind = group_operators(
        "g", keys=[pl.col("k")], split=split, input_schema=SCHEMA, updating=False, emit_update_before=False
    )
    local, keyed = before.build(OperatorContext()), behind.build(OperatorContext())
    rows = [frame([(k, 1, float(k), k, 1, True, None) for k in keys]) for keys in batches]
    table: dict[int, tuple[int, float]] = {}
    for at, batch in enumerate(rows):
        if at == len(rows) // 2:
            keyed = behind.build(OperatorContext(), keyed.snapshot())
        (partial,) = local.process(Batch(batch))
        assert isinstance(partial, Batch)
        (changes,) = keyed.process(partial)
        assert isinstance(changes, Batch)
        for key, count, total, kind in changes.collected().select("k", "n", "s", ROW_KIND).iter_rows():
            assert kind == (RowKind.UPDATE_AFTER if key in table else RowKind.INSERT)
            table[key] = (count, total)
        assert set(changes.collected()["k"]) == set(batch["k"])
    wanted = pl.concat(rows).group_by("k").agg(pl.len().alias("n"), pl.col("x").sum().alias("s"))
    assert table == {key: (count, total) for key, count, total in wanted.iter_rows()}
