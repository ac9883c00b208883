"""A user's function: what it is given, and that what it returns is what it declared."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import StepFailed
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK
from streamlab.core.messages import Batch
from streamlab.operators.base import OperatorContext
from streamlab.operators.map_batches import MapBatchesSpec

FRAME = pl.DataFrame({"a": [1, 2, 3], "s": ["x", None, "z"]})
SCHEMA = pl.Schema({"b": pl.Int64, "s": pl.String})


def apply(function: Any, frame: pl.DataFrame = FRAME, schema: pl.Schema = SCHEMA, as_: Any = "polars") -> Any:
    spec = MapBatchesSpec("map_batches", function, schema, as_)
    assert spec.is_user_code
    return [message.frame for message in spec.build(OperatorContext()).process(Batch(frame))]


MOVES = {
    "sort": lambda f: f.sort("a"),
    "sort and change": lambda f: f.sort("a").with_columns(pl.col("a") * 2),
    "reverse": lambda f: f.reverse(),
    "filter": lambda f: f.filter(pl.col("a") != 2),
    "repeat": lambda f: pl.concat([f, f.reverse()]),
    "add": lambda f: f.with_columns(c=pl.col("a") + 1).drop("c"),
    "change": lambda f: f.with_columns(pl.col("a") + 1),
    "change by name": lambda f: f.select(pl.col("a") + 1, "s"),
    "filter by name": lambda f: f.filter(pl.col("a") != 2).select("a", "s"),
    "all columns": lambda f: f.with_columns(pl.exclude("s") * 2),
}
BACK = {"sort and change": lambda a: a // 2, "change": lambda a: a - 1, "change by name": lambda a: a - 1}
BACK["all columns"] = BACK["sort and change"]


@pytest.mark.parametrize("name", MOVES)
def test_rows_keep_their_watermarks_wherever_a_function_puts_them(name: str) -> None:
    marks = {5: 10, 2: 20, 3: 20, 1: 30}
    frame = pl.DataFrame({"a": list(marks), "s": ["x", "x", None, "y"], ROW_WATERMARK: list(marks.values())})
    (out,) = apply(MOVES[name], frame, pl.Schema({"a": pl.Int64, "s": pl.String}))
    assert_frame_equal(out.drop(ROW_WATERMARK), MOVES[name](frame.drop(ROW_WATERMARK)))
    back = BACK.get(name, lambda a: a)
    assert [marks[back(a)] for a in out["a"]] == out[ROW_WATERMARK].to_list()


def test_rows_that_are_moved_keep_their_watermarks_without_any_other_column() -> None:
    frame = pl.DataFrame({"a": [5, 2, 3, 1], "s": ["x", "x", None, "y"], ROW_WATERMARK: [10, 20, 20, 30]})
    (out,) = apply(lambda f: f.sort("a").select("a", "s"), frame, pl.Schema({"a": pl.Int64, "s": pl.String}))
    assert sorted(out.rows()) == sorted(frame.rows())


def test_rows_keep_their_watermarks_in_pandas() -> None:
    frame = pl.DataFrame({"a": [3, 1, 2], "s": ["x", "y", "z"], ROW_WATERMARK: [1, 2, 3]})
    schema = pl.Schema({"a": pl.Int64, "s": pl.String})
    (out,) = apply(lambda p: p[p["a"] > 1].sort_values("a"), frame, schema, "pandas")
    assert out.rows() == [(2, "z", 3), (3, "x", 1)]


def test_polars_in_and_out_in_the_declared_order() -> None:
    (out,) = apply(lambda f: f.select("s", b=pl.col("a") * 2))
    assert_frame_equal(out, pl.DataFrame({"b": [2, 4, 6], "s": ["x", None, "z"]}))


def test_a_lazy_result_is_run() -> None:
    (out,) = apply(lambda f: f.lazy().rename({"a": "b"}).filter(pl.col("b") > 2))
    assert out.rows() == [(3, "z")]


def test_pandas_in_and_out() -> None:
    (out,) = apply(lambda p: p.rename(columns={"a": "b"}).assign(b=lambda q: q["b"] + 1), as_="pandas")
    assert_frame_equal(out, pl.DataFrame({"b": [2, 3, 4], "s": ["x", None, "z"]}))


def test_pandas_floats_with_gaps_become_declared_integers() -> None:
    (out,) = apply(lambda p: p.assign(b=p["a"].where(p["a"] > 1))[["b", "s"]], as_="pandas")
    assert out["b"].to_list() == [None, 2, 3]


def test_pandas_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        StepFailed, match=r"column 'b' from the function as Int64, as declared, got Float64 such as 0.5"
    ):
        apply(lambda p: p.assign(b=p["a"] / 2)[["b", "s"]], as_="pandas")
    with pytest.raises(StepFailed, match=r"got String that does not fit"):
        apply(lambda p: p.assign(b="no number")[["b", "s"]], as_="pandas")


def test_wrong_columns_are_named() -> None:
    with pytest.raises(StepFailed, match=r"map_batches: needs the declared columns 'b', 's' .* no 'b' and also 'a'"):
        apply(lambda f: f)


def test_wrong_dtype_is_named_with_the_cast_that_helps() -> None:
    with pytest.raises(StepFailed, match=r"(?s)column 'b' .* as Int64, as declared, got Float64.*pl.col\('b'\).cast"):
        apply(lambda f: f.select(b=pl.col("a") / 2, s="s"))


def test_an_untyped_null_column_takes_the_declared_dtype() -> None:
    (out,) = apply(lambda f: f.select(b=pl.lit(None), s="s"))
    assert out.schema == SCHEMA


@pytest.mark.parametrize("function", [lambda f: None, lambda f: 3, lambda f: f.to_pandas()["a"]])
def test_what_is_no_frame_is_refused(function: Any) -> None:
    with pytest.raises(StepFailed, match="a function that returns a frame"):
        apply(function)


def test_errors_of_the_function_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        apply(lambda f: 1 / 0)


def test_empty_batches_do_not_reach_the_function() -> None:
    assert apply(lambda f: 1 / 0, FRAME.clear()) == []
    assert apply(lambda f: f.rename({"a": "b"}).clear()) == []


def test_a_changelog_keeps_its_row_kinds() -> None:
    log = FRAME.with_columns(pl.Series(ROW_KIND, [0, 0, 1], dtype=pl.Int8))
    calls: list[list[str]] = []

    def twice(frame: pl.DataFrame) -> pl.DataFrame:
        calls.append(frame.columns)
        return pl.concat([frame, frame]).select(b="a", s="s")

    (out,) = apply(twice, log)
    assert calls == [["a", "s"], ["a", "s"]]
    assert out.select("b", ROW_KIND).rows() == [(1, 0), (2, 0), (1, 0), (2, 0), (3, 1), (3, 1)]
