"""The simulation itself: one seed is one run, and other seeds are other runs of the same result."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import StepFailed
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.simulation import shuffled, simulate
from streamlab.testing.sources import split_frames

_START = datetime(2024, 1, 1)  # noqa: DTZ001 - naive, as most event times are
ROWS = pl.DataFrame(
    {
        "at": [_START + timedelta(seconds=n % 90) for n in range(300)],
        "key": [("a", "b", None, "d")[n % 4] for n in range(300)],
        "n": range(300),
    }
)
BOUND_US = 100_000_000


def _windows() -> sl.StreamFrame:
    parts = [ROWS.slice(at, 25) for at in range(0, ROWS.height, 25)]
    stream = split_frames(parts, event_time="at", watermark="100s")
    return stream.group_by_dynamic("at", every="10s", group_by="key").agg(pl.len().alias("rows"), pl.col("n").sum())


def _expected() -> pl.DataFrame:
    by = [pl.col("key"), pl.col("at").dt.truncate("10s")]
    return ROWS.group_by(by).agg(pl.len().alias("rows"), pl.col("n").sum())


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_run(seed: int) -> None:
    first, second = (simulate(_windows(), seed, parallelism=2, crashes=1) for _ in range(2))
    assert first.trace_hash == second.trace_hash
    assert first.steps == second.steps
    assert_same_rows(first.rows, second.rows)


def test_other_seeds_give_other_runs() -> None:
    assert len({simulate(_windows(), seed, parallelism=2).trace_hash for seed in range(5)}) == 5


@pytest.mark.parametrize("parallelism", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_every_schedule_gives_the_same_result(seed: int, parallelism: int) -> None:
    assert_same_rows(simulate(_windows(), seed, parallelism=parallelism).table, _expected())


@pytest.mark.parametrize("parallelism", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_crashes_change_nothing(seed: int, parallelism: int) -> None:
    assert_same_rows(simulate(_windows(), seed, parallelism=parallelism, crashes=3).table, _expected())


def test_crashes_do_happen() -> None:
    assert sum(simulate(_windows(), seed, parallelism=2, crashes=3).crashes for seed in range(8)) > 4


def test_a_failing_step_is_reported() -> None:
    def bad(batch: pl.DataFrame) -> pl.DataFrame:
        msg = "no such luck"
        raise ValueError(msg)

    query = sl.from_frame(ROWS).map_batches(bad, schema=ROWS.schema)
    with pytest.raises(StepFailed, match="no such luck"):
        simulate(query, 0)


def test_shuffled_rows_stay_within_the_bound() -> None:
    frame = ROWS.sort("at")
    arrived = shuffled(frame, "at", 5_000_000, seed=3)
    times = arrived["at"].dt.epoch("us")
    assert (times.cum_max() - times).max() <= 5_000_000
    assert not arrived.equals(frame)
    assert_same_rows(arrived, frame)
