"""Joins with a static frame: Polars' result on the whole input, whatever the cuts and the size of the frame."""

from __future__ import annotations

import pickle
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.core.changelog import ROW_KIND, fold
from streamlab.core.errors import PlanError
from streamlab.core.messages import Batch
from streamlab.operators import static_join
from streamlab.operators.base import OperatorContext
from streamlab.operators.static_join import StaticJoinSpec

NAN = float("nan")
HOWS: list[Any] = ["inner", "left", "semi", "anti"]


@pytest.fixture(params=["whole", "narrowed"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Join with the whole right frame, or with the rows that the index finds."""
    monkeypatch.setattr(static_join, "_SMALL", 10**9 if request.param == "whole" else -1)


def join(left: pl.DataFrame, spec: StaticJoinSpec, cut: int) -> pl.DataFrame:
    operator = pickle.loads(pickle.dumps(spec)).build(OperatorContext())
    parts = [left[at : at + cut] for at in range(0, left.height, cut)]
    out = [message.collected() for part in parts for message in operator.process(Batch(part))]
    empty = left.clear().join(
        spec.right, left_on=list(spec.left_on), right_on=list(spec.right_on), how=spec.how, **spec.kwargs
    )
    return pl.concat([empty.select(out[0].columns) if out else empty, *out])


def polars(left: pl.DataFrame, spec: StaticJoinSpec) -> pl.DataFrame:
    return left.join(spec.right, left_on=list(spec.left_on), right_on=list(spec.right_on), how=spec.how, **spec.kwargs)


keys = st.sampled_from([0.0, -0.0, NAN, None, 1.0, 2.0])
names = st.sampled_from(["x", "y", None])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("how", HOWS)
@settings(deadline=None)
@given(
    left=st.lists(st.tuples(keys, names), max_size=12),
    right=st.lists(st.tuples(keys, names, st.integers(0, 9)), max_size=30),
    cut=st.integers(1, 5),
    on=st.sampled_from([(pl.col("k"),), (pl.col("k"), pl.col("s"))]),
    options=st.fixed_dictionaries(
        {"nulls_equal": st.booleans(), "coalesce": st.sampled_from([None, True, False]), "suffix": st.just("_2")}
    ),
)
def test_is_polars_join_whatever_the_cuts(*, how: Any, left: Any, right: Any, cut: int, on: Any, options: Any) -> None:
    rows = pl.DataFrame(left, schema={"k": pl.Float64, "s": pl.String}, orient="row").with_row_index("i")
    frame = pl.DataFrame(right, schema={"k": pl.Float64, "s": pl.String, "v": pl.Int64}, orient="row")
    spec = StaticJoinSpec("join", frame, how, on, on, options)
    # Polars' own join does not match NaN of sorted columns, of which a single row is one; a last row makes it unsorted.
    padded = pl.concat([rows, pl.DataFrame([(0, 2.0, None), (0, 1.0, None)], schema=rows.schema, orient="row")])
    assert_frame_equal(join(padded, spec, cut), polars(padded, spec), check_row_order=False)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dtypes", [(pl.Int32, pl.Int64), (pl.Int64, pl.Int8), (pl.Float32, pl.Float64)])
def test_keys_of_different_width(how: Any, dtypes: tuple[Any, Any]) -> None:
    left = pl.DataFrame({"a": pl.Series([1, 2, 100, 3], dtype=dtypes[0])})
    right = pl.DataFrame({"b": pl.Series([1, 2, 2, 7, 8], dtype=dtypes[1]), "v": range(5)})
    spec = StaticJoinSpec("join", right, how, (pl.col("a"),), (pl.col("b"),))
    assert_frame_equal(join(left, spec, 2), polars(left, spec), check_row_order=False)


@pytest.mark.usefixtures("small")
def test_keys_that_are_computed_and_called_differently() -> None:
    left = pl.DataFrame({"a": [1, 2, 3, 4], "v": list("pqrs")})
    right = pl.DataFrame({"b": [10, 20, 20, 90, 91], "v": range(5)})
    spec = StaticJoinSpec("join", right, "left", (pl.col("a") * 10,), (pl.col("b"),))
    assert_frame_equal(join(left, spec, 3), polars(left, spec), check_row_order=False)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("how", HOWS)
def test_rows_keep_their_order(how: Any) -> None:
    left = pl.DataFrame({"i": range(50), "k": [(i * 7) % 11 for i in range(50)]})
    right = pl.DataFrame({"k": [3, 5, 5, *range(100, 200)], "w": range(103)})
    out = join(left, StaticJoinSpec("join", right, how, (pl.col("k"),), (pl.col("k"),)), 20)
    assert out["i"].is_sorted()


@pytest.mark.usefixtures("small")
def test_a_changelog_stays_one() -> None:
    log = pl.DataFrame({"k": [1, 1, 2], "n": [5, 5, 6], ROW_KIND: pl.Series([0, 1, 2], dtype=pl.Int8)})
    right = pl.DataFrame({"k": [1, 1, 2, 3], "w": ["a", "b", "c", "d"]})
    spec = StaticJoinSpec("join", right, "left", (pl.col("k"),), (pl.col("k"),))
    out = join(log, spec, 3)
    assert out.columns == ["k", "n", "w", ROW_KIND]
    assert fold(out).rows() == [(2, 6, "c")]


def test_an_error_of_the_right_side_is_polars_own() -> None:
    right = pl.DataFrame({"k": [1, 1]})
    spec = StaticJoinSpec("join", right, "left", (pl.col("k"),), (pl.col("k"),), {"validate": "m:1"})
    with pytest.raises(pl.exceptions.ComputeError, match="m:1 validation"):
        join(pl.DataFrame({"k": [1]}), spec, 1)


@pytest.mark.parametrize("validate", ["1:1", "1:m"])
def test_refuses_to_validate_the_stream(validate: str) -> None:
    with pytest.raises(PlanError, match=f"join: needs validate='m:m' or 'm:1', got validate='{validate}'"):
        StaticJoinSpec("join", pl.DataFrame({"k": [1]}), "left", (), (), {"validate": validate})


def test_state_is_the_frame() -> None:
    right = pl.DataFrame({"k": range(10)})
    operator = StaticJoinSpec("join", right, "left", (pl.col("k"),), (pl.col("k"),)).build(OperatorContext())
    assert operator.metrics()["state_rows"] == 10
