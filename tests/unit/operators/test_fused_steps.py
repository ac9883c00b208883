"""Fused row-wise steps: what Polars gives, lazily too, and the row kind of an updating stream kept through them."""

from __future__ import annotations

import pickle
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from polars.testing import assert_frame_equal

from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import PlanError
from streamlab.core.messages import Batch
from streamlab.operators.base import OperatorContext
from streamlab.operators.steps import PolarsStepsSpec, Step

FRAME = pl.DataFrame(
    {
        "a": [1, None, 3, 4],
        "x": [0.5, float("nan"), None, -1.0],
        "l": [[1], [2, 3], [], None],
        "s": [{"u": 1, "v": "p"}, {"u": 2, "v": None}, None, {"u": 4, "v": "q"}],
    }
)
KINDS = pl.Series(ROW_KIND, [0, 1, 2, 3], dtype=pl.Int8)

STEPS: dict[str, tuple[Step, ...]] = {
    "select": (("select", (pl.col("a") * 2, pl.col("x")), {"y": pl.col("a").cast(pl.String)}),),
    "select all": (("select", (pl.all(),), {}),),
    "numbers": (("select", (cs.numeric() + 1,), {}),),
    "with_columns": (("with_columns", (pl.lit(7).alias("seven"),), {"b": pl.col("a") + 1}),),
    "filter": (("filter", (pl.col("a") > 1, pl.col("x") < 0), {}),),
    "filter by value": (("filter", (), {"a": 3}),),
    "filter by list": (("filter", ([pl.col("a") > 1, pl.col("a") < 4],), {}),),
    "filter all": (("filter", (pl.all_horizontal(cs.integer() > 2),), {}),),
    "filter literal": (("filter", (pl.lit(value=True),), {}),),
    "drop": (("drop", ("a", "l"), {}),),
    "rename": (("rename", (str.upper,), {}),),
    "cast": (("drop", ("s", "l"), {}), ("cast", (pl.Float32,), {})),
    "drop_nulls": (("drop_nulls", (), {}),),
    "drop_nulls of": (("drop_nulls", ("a",), {}),),
    "drop_nans": (("drop_nans", (), {}),),
    "fill_null": (("fill_null", (0,), {}),),
    "fill_nan": (("fill_nan", (0,), {}),),
    "explode": (("explode", ("l",), {}),),
    "explode selected": (("explode", (cs.list(),), {"empty_as_null": True, "keep_nulls": False}),),
    "unnest": (("unnest", ("s",), {}),),
    "unpivot": (("unpivot", (["a", "x"],), {"index": "l", "variable_name": "name", "value_name": "number"}),),
    "unpivot rest": (("drop", ("s", "l"), {}), ("unpivot", (), {"index": "a"})),
    "unpivot all": (("select", ("a", "x"), {}), ("unpivot", (), {})),
    "chain": (
        ("with_columns", (), {"b": pl.col("a") * 10}),
        ("filter", (pl.col("b") >= 10,), {}),
        ("explode", ("l",), {}),
        ("select", ("b", "l"), {}),
    ),
}


def polars(frame: pl.DataFrame, steps: tuple[Step, ...]) -> pl.DataFrame:
    result: Any = frame.lazy()
    for method, args, kwargs in steps:
        result = getattr(result, method)(*args, **kwargs)
    return result.collect()


def run(steps: tuple[Step, ...], frame: pl.DataFrame | pl.LazyFrame) -> list[Any]:
    spec = pickle.loads(pickle.dumps(PolarsStepsSpec("steps", steps))) if "rename" not in str(steps) else None
    operator = (spec or PolarsStepsSpec("steps", steps)).build(OperatorContext())
    return operator.process(Batch(frame, ingested_us=5))


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_gives_what_polars_gives(steps: tuple[Step, ...]) -> None:
    (batch,) = run(steps, FRAME)
    assert_frame_equal(batch.frame, polars(FRAME, steps))
    assert batch.ingested_us == 5


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_stays_lazy(steps: tuple[Step, ...]) -> None:
    (batch,) = run(steps, FRAME.lazy())
    assert isinstance(batch.frame, pl.LazyFrame)
    assert_frame_equal(batch.collected(), polars(FRAME, steps))


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_keeps_the_row_kind_of_each_row(steps: tuple[Step, ...]) -> None:
    (batch,) = run(steps, FRAME.with_columns(KINDS))
    for kind in range(4):
        expected = polars(FRAME.slice(kind, 1), steps)
        got = batch.frame.filter(pl.col(ROW_KIND) == kind).drop(ROW_KIND)
        assert_frame_equal(got, expected)
    assert batch.frame.schema[ROW_KIND] == pl.Int8


def test_order_of_a_changelog_is_kept() -> None:
    log = pl.DataFrame({"n": [1, 1, 2, 2, 3], ROW_KIND: pl.Series([0, 1, 2, 1, 2], dtype=pl.Int8)})
    (batch,) = run((("filter", (pl.col("n") > 0,), {}), ("with_columns", (pl.all() + 1,), {})), log)
    assert batch.frame[ROW_KIND].to_list() == [0, 1, 2, 1, 2]
    assert batch.frame["n"].to_list() == [2, 2, 3, 3, 4]


def test_gives_nothing_for_no_rows() -> None:
    assert run((("filter", (pl.col("a") > 100,), {}),), FRAME) == []
    assert run((("filter", (pl.col("a") > 100,), {}),), FRAME.with_columns(KINDS)) == []


def test_refuses_what_would_lose_rows_of_a_changelog() -> None:
    with pytest.raises(PlanError, match="append-only"):
        run((("unique", (), {}),), FRAME.with_columns(KINDS))
    with pytest.raises(PlanError, match="one row for each row, got 1 rows for 4 rows"):
        run((("select", (pl.col("a").sum(),), {}),), FRAME.with_columns(KINDS))


def test_keeps_side_outputs_apart() -> None:
    operator = PolarsStepsSpec("select", (("select", ("a",), {}),)).build(OperatorContext())
    (batch,) = operator.process(Batch(FRAME, "other"))
    assert batch.tag == "other"
