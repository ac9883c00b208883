"""``explain()`` as stable text: each query against a file of its own.

After a deliberate change run ``UPDATE_GOLDEN=1 pytest tests/golden`` and read the difference before it is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import streamlab as sl

FOLDER = Path(__file__).parent / "explain"
FLIGHTS = pl.DataFrame(
    schema={"dep_time": pl.Datetime("us"), "origin": pl.String, "carrier": pl.String, "dep_delay": pl.Float64}
)
AIRLINES = pl.DataFrame({"carrier": ["UA", "AA"], "name": ["United", "American"]})


def flights(**given: object) -> sl.StreamFrame:
    return sl.from_frame(FLIGHTS, event_time="dep_time", watermark="2h", **given)


def ticks() -> sl.StreamFrame:
    return sl.generate(
        lambda start, n: pl.DataFrame({"i": range(start, start + n)}).with_columns(at=pl.from_epoch("i", "s")),
        rows_per_second=100,
        event_time="at",
        watermark="10s",
        idle_timeout="1m",
    )


def shout(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.with_columns(pl.col("origin").str.to_uppercase())


QUERIES: dict[str, Callable[[], sl.StreamFrame]] = {
    "hourly": lambda: (
        flights()
        .filter(pl.col("origin") == "JFK")
        .group_by_dynamic("dep_time", every="1h", group_by="carrier")
        .agg(pl.len().alias("flights"), pl.col("dep_delay").mean())
    ),
    "buffered": lambda: (
        flights(pace="60x", max_advance="1d")
        .group_by_dynamic("dep_time", every="15m", period="1h", offset="5m")
        .agg(pl.col("dep_delay").median(), pl.len())
    ),
    "early": lambda: (
        ticks()
        .group_by_session("at", gap="30s", group_by=pl.col("i") % 2, trigger=sl.every("5s"), allowed_lateness="90s")
        .agg(pl.len())
    ),
    "cumulative": lambda: (
        ticks().group_by_cumulative("at", step="1m", every="1h", trigger=sl.every_rows(1000)).agg(pl.col("i").max())
    ),
    "group_by": lambda: (
        flights()
        .with_columns(pl.col("carrier").map_elements(str.lower, return_dtype=pl.String))
        .group_by("origin", "carrier")
        .agg(pl.col("dep_delay").quantile(0.9), pl.len())
        .filter(pl.col("len") > 10)
    ),
    "total": lambda: flights().select(pl.len(), pl.col("dep_delay").mean()),
    "steps": lambda: (
        flights()
        .with_columns(late=pl.col("dep_delay") > 15)
        .map_batches(shout, schema={**FLIGHTS.schema, "late": pl.Boolean})
        .rename({"dep_time": "at"})
        .join(AIRLINES, on="carrier", how="left")
        .with_watermark("at", "3h", idle_timeout="1m")
        .drop_nulls(["name"])
        .select("at", "name", "late")
        .head(100)
    ),
    "union": lambda: (
        sl.concat([flights(), flights().filter(pl.col("carrier") == "UA")])
        .group_by_dynamic("dep_time", every="1d")
        .agg(pl.len())
    ),
    "windows_of_windows": lambda: (
        flights()
        .group_by_dynamic("dep_time", every="1h", group_by="origin", include_boundaries=True)
        .agg(pl.len().alias("n"))
        .group_by_dynamic("dep_time", every="1d", group_by="origin")
        .having(pl.col("n").sum() > 3)
        .agg(pl.col("n").max())
    ),
}


@pytest.mark.parametrize("name", QUERIES)
def test_explain(name: str) -> None:
    text = QUERIES[name]().explain(parallelism=2) + "\n"
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    assert text == path.read_text(encoding="utf-8")


def test_every_file_has_its_query() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(QUERIES)
