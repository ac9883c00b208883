"""Hundreds of columns, each with an expression of its own: the work does not grow with their product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from streamlab.frame.stream_frame import StreamFrame

WIDTH = 200
SCHEMA = pl.Schema({"ts": pl.Datetime("us"), **{f"c{at}": pl.Float64() for at in range(WIDTH)}})
AGGREGATES = (pl.all().sum(), *(pl.col(f"c{at}").max().alias(f"m{at}") for at in range(WIDTH)))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count empty frames that are made column by column, and columns that Polars reports."""
    found = {"frames": 0, "columns": 0}
    make, schema_of = pl.LazyFrame.__init__, pl.LazyFrame.collect_schema

    def counted_make(self: pl.LazyFrame, *args: Any, **kwargs: Any) -> None:
        found["frames"] += 1
        make(self, *args, **kwargs)

    def counted_schema(self: pl.LazyFrame, *args: Any, **kwargs: Any) -> pl.Schema:
        schema = schema_of(self, *args, **kwargs)
        found["columns"] += len(schema)
        return schema

    monkeypatch.setattr(pl.LazyFrame, "__init__", counted_make)
    monkeypatch.setattr(pl.LazyFrame, "collect_schema", counted_schema)
    return found


@pytest.mark.parametrize("group", ["windows", "unbounded"])
def test_aggregating_every_column(group: str, make_stream: Callable[..., StreamFrame], calls: dict[str, int]) -> None:
    stream = make_stream(SCHEMA)
    grouped = stream.group_by_dynamic("ts", every="1h") if group == "windows" else stream.group_by("ts")
    assert len(grouped.agg(*AGGREGATES).columns) == 1 + 2 * WIDTH
    assert calls["frames"] < 20
    assert calls["columns"] < 60 * WIDTH
