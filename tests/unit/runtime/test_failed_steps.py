"""What is told of a step that raised: the user's columns, row and line, and whether it is worth another try."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import polars as pl
import pytest

import streamlab as sl

HUGE = Decimal(10) ** 37 * 5
DECIMALS = pl.DataFrame({"k": ["a"] * 3, "n": [HUGE] * 3}, schema={"k": pl.String, "n": pl.Decimal(38, 0)})
INTEGERS = pl.DataFrame({"k": ["a"] * 3, "n": [2**62] * 3})
TIMES = pl.DataFrame({"at": [datetime(2026, 1, 1)] * 3})  # noqa: DTZ001 - naive, as most data are


def picky(frame: pl.DataFrame) -> pl.DataFrame:
    if (frame["n"] == 77).any():
        text = "77 is refused"
        raise ValueError(text)
    return frame


def unlucky(frame: pl.DataFrame) -> pl.DataFrame:
    if (frame["n"] == 77).any():
        text = "the service is away"
        raise ConnectionError(text)
    return frame


def failed(stream: sl.StreamFrame, **options: object) -> tuple[str, sl.Job]:
    job = stream.start("failing", parallelism=1, restart_delay_ms=1, **options)
    with pytest.raises(sl.StepFailed) as caught:
        job.wait()
    return str(caught.value), job


def test_a_mistake_in_a_function_is_shown_at_its_first_failure() -> None:
    said, job = failed(sl.from_frame(pl.DataFrame({"n": range(200)})).map_batches(picky))
    line = picky.__code__.co_firstlineno + 3
    assert said.startswith(
        f"map_batches picky: ValueError: 77 is refused\n  in line {line} of picky: raise ValueError("
    )
    assert "│ 77  │" in said
    assert "shape: (1, 1)" in said
    assert job.report().restarts == 0


def test_what_may_be_otherwise_the_next_time_is_tried_again() -> None:
    said, job = failed(sl.from_frame(pl.DataFrame({"n": range(200)})).map_batches(unlucky))
    assert "ConnectionError: the service is away" in said
    assert job.report().restarts == 2


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize(
    ("rows", "aggregate", "needed"),
    [
        (DECIMALS, pl.col("n").sum(), "n: column 'n' overflows the 38 digits of a Decimal: cast it to Float64 first"),
        (
            DECIMALS,
            (pl.col("n").sum() * 2).alias("twice"),
            "twice: column 'n' overflows the 38 digits of a Decimal: cast it to Float64 first",
        ),
        (INTEGERS, pl.col("n").sum(), 'col("n").sum() overflows Int64: cast its input to a wider dtype first'),
    ],
)
def test_overflow_is_one_sentence_however_rows_are_cut(
    rows: pl.DataFrame, aggregate: pl.Expr, needed: str, batch_rows: int, *, windowed: bool
) -> None:
    stream = sl.from_frame(pl.concat([rows, TIMES], how="horizontal"), event_time="at", watermark="0s")
    groups = stream.group_by_dynamic("at", every="1h", group_by="k") if windowed else stream.group_by("k")
    with pytest.raises(sl.StepFailed) as caught:
        groups.agg(aggregate).collect(batch_rows=batch_rows)
    said = str(caught.value).partition("In the worker")[0]
    assert said.partition("\n")[0].endswith(f": {needed}")
    assert "__" not in said
