"""What an overflow says is found again in the error that Polars makes of it."""

from __future__ import annotations

import polars as pl
import pytest

from streamlab.core.aggregation import overflow_in
from streamlab.plan.expressions import split_aggregates

SCHEMA = pl.Schema({"v": pl.Int64(), "w": pl.Int32(), 'odd "name", this': pl.UInt64()})
SUMS = [("v", 2**63 - 1, "Int64"), ("w", 2**31 - 1, "Int32"), ('odd "name", this', 2**64 - 1, "UInt64")]


@pytest.mark.parametrize(("column", "most", "dtype"), SUMS)
@pytest.mark.parametrize("groups", [1, 3])
def test_overflowing_sums(column: str, most: int, dtype: str, groups: int) -> None:
    split = split_aggregates((pl.lit(1),), [pl.col(column).sum()], SCHEMA)
    keys = [key for key in range(groups) for _ in range(2)]
    rows = pl.DataFrame({"k": keys, **{name: [most if name == column else 0] * len(keys) for name in SCHEMA}})
    merged = rows.cast(dict(SCHEMA)).group_by("k").agg(split.partial).group_by("k").agg(split.merge)
    with pytest.raises(pl.exceptions.PolarsError) as raised:
        merged.select(split.final)
    text = overflow_in(raised.value)
    assert text == f'col("{column}").sum() overflows {dtype}: cast its input to a wider dtype first'


def test_other_errors_say_nothing_of_it() -> None:
    assert overflow_in(ValueError('conversion failed: ["it overflows"]')) is None


@pytest.mark.parametrize(
    ("said", "made"),
    [
        (
            "called `unwrap()`: decimal precision 38 can't fit values with 39 digits: constructing Series '__sl_p0'",
            "sum",
        ),
        ("overflow in decimal addition: result doesn't fit Decimal(38, 0)", "sum"),
        ("overflow in decimal multiplication: result doesn't fit Decimal(38, 0)", "multiplication"),
    ],
)
def test_what_polars_says_of_decimals_is_said_in_the_same_words(said: str, made: str) -> None:
    text = f"a {made} of decimals overflows Decimal(precision=38): cast its input to a wider dtype first"
    assert overflow_in(pl.exceptions.ComputeError(said)) == text
