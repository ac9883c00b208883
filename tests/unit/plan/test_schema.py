"""Typing on empty frames, and Polars' refusals in our words."""

from __future__ import annotations

import threading

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.errors import PlanError
from streamlab.plan.schema import calls_python, check_names, missing_column, show_columns, typed

SCHEMA = pl.Schema({"ts": pl.Datetime("ms", "UTC"), "Number": pl.Int64})


def test_typed_gives_polars_schema() -> None:
    assert typed("select", SCHEMA, lambda f: f.select(pl.col("Number") / 2)) == {"Number": pl.Float64}


def test_typed_runs_what_types_alone_do_not_show() -> None:
    with pytest.raises(PlanError, match=r"with_columns: needs what Polars accepts .*String"):
        typed("with_columns", SCHEMA, lambda f: f.with_columns(pl.col("Number").str.to_uppercase()))


def test_typed_lets_other_errors_through() -> None:
    with pytest.raises(ZeroDivisionError):
        typed("select", SCHEMA, lambda f: f.select(1 / 0))


@pytest.mark.parametrize(("typo", "guess"), [("number", "Number"), ("Numbr", "Number"), ("TS", "ts")])
def test_guesses_ignore_case(typo: str, guess: str) -> None:
    assert f"did you mean {guess!r}? " in str(missing_column("drop", typo, SCHEMA))


def test_no_guess_without_a_likeness() -> None:
    text = str(missing_column("drop", "zebra", SCHEMA))

    assert "did you mean" not in text
    first, second = text.split("\n")
    assert first == "drop: needs columns of its input, got 'zebra', which is none."
    assert second == "  → the columns are: ts Datetime(ms, UTC), Number Int64"


def test_no_columns_are_said() -> None:
    assert "there are no columns" in str(missing_column("drop", "zebra", pl.Schema()))


@given(st.integers(0, 100))
def test_long_lists_of_columns_are_cut(n: int) -> None:
    text = show_columns(pl.Schema({f"c{at}": pl.Int8 for at in range(n)}))

    shown = text.count(" Int8")
    assert shown == min(n, 24)
    assert (f"and {n - shown} more" in text) == (n > 24)


def test_lines_of_columns_break_between_columns() -> None:
    schema = pl.Schema({f"a_rather_long_name_{at}": pl.Datetime("us", "UTC") for at in range(9)})
    lines = show_columns(schema, 100).splitlines()
    assert [len(line) <= 100 and line.startswith("a_rather") for line in lines] == [True] * 5
    assert " ".join(lines) == show_columns(schema)


def test_names_that_streamlab_computes_with_are_its_own() -> None:
    check_names("select", ["_a", "a__b", "a", "__a", "__p1", "__key_a", "__start", "__slot", "a__sl_b"])
    with pytest.raises(PlanError, match="'__sl_p1', '__sl_key_a', '__row_kind'"):
        check_names("select", ["a", "__sl_p1", "__sl_key_a", "__row_kind"])


def test_what_calls_python() -> None:
    assert not calls_python("a")
    assert not calls_python(pl.col("a").cum_sum())
    assert calls_python(1 + pl.col("a").map_batches(len, return_dtype=pl.Int64))


@pytest.mark.parametrize(
    "pick", [pl.col("Number").get(0), pl.col("Number").gather([1]), pl.col("Number").item()], ids=str
)
def test_what_needs_a_row_is_typed_without_one(pick: pl.Expr) -> None:
    assert typed("agg", SCHEMA, lambda frame: frame.select(pick)) == {"Number": pl.Int64}


def test_a_panic_of_polars_is_a_refusal() -> None:
    schema = pl.Schema({"x": pl.Float64(), "l": pl.List(pl.Int64)})
    with pytest.raises(PlanError, match=r"^unpivot: needs what Polars accepts .*supertype of f64 and list"):
        typed("unpivot", schema, lambda frame: frame.unpivot())


def test_a_function_in_an_expression_that_cannot_be_sent_is_refused() -> None:
    lock = threading.Lock()
    locked = pl.col("Number").map_batches(lambda series: (lock, series)[1], return_dtype=pl.Int64)
    with pytest.raises(PlanError, match=r"^agg: needs functions .*cannot pickle '_thread\.lock' object"):
        typed("agg", SCHEMA, lambda frame: frame.select(locked + 1), [pl.col("Number"), locked + 1])
