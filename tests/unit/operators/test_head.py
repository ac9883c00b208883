"""The first rows, then the end."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.core.messages import LATE_ROWS, Batch
from streamlab.operators.base import OperatorContext
from streamlab.operators.head import HeadSpec


@settings(deadline=None)
@given(st.lists(st.integers(0, 5)), st.integers(0, 12), st.integers(0, 5))
def test_gives_the_first_rows_whatever_the_cuts_and_goes_on_from_a_snapshot(sizes: list[int], n: int, cut: int) -> None:
    spec = HeadSpec("head", n)
    operator = spec.build(OperatorContext())
    got: list[int] = []
    start = 0
    for at, size in enumerate(sizes):
        if at == cut:
            operator = spec.build(OperatorContext(), operator.snapshot())
        frame = pl.DataFrame({"n": range(start, start + size)}, schema={"n": pl.Int64})
        start += size
        for batch in operator.process(Batch(frame)):
            got += batch.collected()["n"].to_list()
    assert got == list(range(start))[:n]
    assert operator.done == (len(got) == n)


def test_side_outputs_do_not_count() -> None:
    operator = HeadSpec("head", 1).build(OperatorContext())
    late = Batch(pl.DataFrame({"n": [1, 2]}), LATE_ROWS)
    assert operator.process(late) == [late]
    assert not operator.done
