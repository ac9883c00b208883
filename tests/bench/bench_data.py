"""The data of the benchmarks: Parquet files of readings, made once for each size and kept in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

FILES = 40
_START_US = 1_700_000_000_000_000
_JITTER_US = 2_000_000


def readings(folder: Path, rows: int, keys: int) -> Path:
    """Return a folder with `rows` rows in 40 files: ``at`` rising with two seconds of jitter, ``key``, ``value``.

    One hour of event time, so that there are 60 windows of a minute.
    """
    target = folder / f"readings-{rows}-{keys}"
    if (target / "done").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    per_file = rows // FILES
    step_us = 3_600_000_000 / rows
    for number in range(FILES):
        first = number * per_file
        at = _START_US + ((np.arange(per_file) + first) * step_us).astype(np.int64)
        at += random.integers(-_JITTER_US, 1, per_file)
        frame = pl.DataFrame({"at": at, "key": random.integers(0, keys, per_file), "value": random.random(per_file)})
        frame.with_columns(pl.col("at").cast(pl.Datetime("us"))).write_parquet(target / f"part-{number:03d}.parquet")
    (target / "done").touch()
    return target
