"""The ends of a time column, told from the numbers behind it, are what Polars' own conversion gives."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.event_time.time import FARTHEST_TIME_US, is_usable, time_bounds, time_us

DTYPES = [pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns"), pl.Datetime("us", "Europe/Berlin"), pl.Date()]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(numbers=st.lists(st.one_of(st.none(), st.integers(-(10**5), 10**5)), max_size=20))
def test_bounds_are_those_of_the_conversion(dtype, numbers) -> None:
    width = pl.Int32 if dtype == pl.Date else pl.Int64
    frame = pl.DataFrame({"t": pl.Series(numbers, dtype=width).cast(dtype)})
    time = time_us("t")
    earliest, latest, usable = frame.select(a=time.min(), b=time.max(), c=is_usable("t", dtype).all()).row(0)
    expected = earliest, latest, usable and None not in numbers
    assert time_bounds(frame, "t") == expected


@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns")], ids=str)
@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), FARTHEST_TIME_US, -FARTHEST_TIME_US, FARTHEST_TIME_US + 1])
def test_usable_is_what_is_usable_says(dtype, number) -> None:
    frame = pl.DataFrame({"t": pl.Series([0, number], dtype=pl.Int64).cast(dtype)})
    assert time_bounds(frame, "t")[2] == frame.select(is_usable("t", dtype).all()).item()
