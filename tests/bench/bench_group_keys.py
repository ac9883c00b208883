"""Cost per row of an unbounded ``group_by`` with 10 thousand and with 10 million keys behind it, and their ratio.

Run as ``python tests/bench/bench_group_keys.py``; the state is filled first, then measured with batches of random keys.
One thread, as a worker has.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import statistics
import time

import numpy as np
import polars as pl

from streamlab.core.messages import Batch
from streamlab.operators.base import Operator, OperatorContext
from streamlab.operators.group_aggregate import group_operators
from streamlab.plan.expressions.split import split_aggregates

BATCH_ROWS = 500_000
REPEATS = 9
SCHEMA = pl.Schema({"k": pl.Int64, "v": pl.Int64, "x": pl.Float64})
AGGREGATES = {
    "len": [pl.len()],
    "len, sum, mean": [pl.len(), pl.col("v").sum(), pl.col("x").mean()],
}


def operators(aggregates: list[pl.Expr]) -> tuple[Operator, Operator]:
    """Return the operators before and behind the exchange."""
    keys = [pl.col("k")]
    split = split_aggregates(keys, aggregates, SCHEMA)
    local, _, keyed = group_operators("group_by", keys=keys, split=split, input_schema=SCHEMA, updating=False)
    return local.build(OperatorContext()), keyed.build(OperatorContext())


def batch(keys: np.ndarray) -> Batch:
    """Return rows with these keys."""
    rng = np.random.default_rng(len(keys))
    return Batch(pl.DataFrame({"k": keys, "v": rng.integers(0, 100, len(keys)), "x": rng.random(len(keys))}))


def measured(aggregates: list[pl.Expr], keys: int) -> tuple[float, float]:
    """Return nanoseconds a row, before and behind the exchange, with this many keys in the state."""
    local, keyed = operators(aggregates)
    rng = np.random.default_rng(0)
    order = rng.permutation(keys)
    for start in range(0, keys, BATCH_ROWS):
        for partial in local.process(batch(order[start : start + BATCH_ROWS])):
            keyed.process(partial)
    times = []
    for _ in range(REPEATS):
        rows = batch(rng.integers(0, keys, BATCH_ROWS))
        start = time.perf_counter()
        partials = local.process(rows)
        between = time.perf_counter()
        for partial in partials:
            keyed.process(partial)
        times.append((between - start, time.perf_counter() - between))
    before, behind = (statistics.median(t) / BATCH_ROWS * 1e9 for t in zip(*times, strict=True))
    return before, behind


def main() -> None:
    """Print a line for each set of aggregates."""
    for name, aggregates in AGGREGATES.items():
        few, many = (measured(aggregates, keys) for keys in (10_000, 10_000_000))
        print(
            f"{name:16} 10 thousand keys {sum(few):6.1f} ns/row ({few[0]:.1f} + {few[1]:.1f})   "
            f"10 million keys {sum(many):6.1f} ns/row ({many[0]:.1f} + {many[1]:.1f})   ratio {sum(many) / sum(few):.2f}"
        )


if __name__ == "__main__":
    main()
