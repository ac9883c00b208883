"""Cost per row of an unbounded ``group_by`` with 10 thousand and with 10 million keys behind it, and their ratio.

With keys drawn from all 10 million, nearly every row is another key: none are combined before the exchange, and each
gives two changes; that is the cost of what changes, not of what is kept, which the middle line shows alone.

Run as ``python tests/bench/bench_group_keys.py``; the state is filled first, then measured with batches of random keys.
One thread, as a worker has; processor time, which other programs disturb less than the clock.
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


def measured(aggregates: list[pl.Expr], keys: int, touched: int) -> tuple[float, float]:
    """Return nanoseconds a row, before and behind the exchange.

    The state has `keys` keys, and the rows of a batch are spread over the first `touched` of them.
    """
    local, keyed = operators(aggregates)
    rng = np.random.default_rng(0)
    order = rng.permutation(keys)
    for start in range(0, keys, BATCH_ROWS):
        for partial in local.process(batch(order[start : start + BATCH_ROWS])):
            keyed.process(partial)
    times = []
    for _ in range(REPEATS):
        rows = batch(rng.integers(0, touched, BATCH_ROWS))
        start = time.process_time()
        partials = local.process(rows)
        between = time.process_time()
        for partial in partials:
            keyed.process(partial)
        times.append((between - start, time.process_time() - between))
    before, behind = (statistics.median(t) / BATCH_ROWS * 1e9 for t in zip(*times, strict=True))
    return before, behind


def main() -> None:
    """Print a line for each set of aggregates and each number of keys."""
    for name, aggregates in AGGREGATES.items():
        least = 0.0
        for keys, touched in ((10_000, 10_000), (10_000_000, 10_000), (10_000_000, 10_000_000)):
            before, behind = measured(aggregates, keys, touched)
            least = least or before + behind
            print(
                f"{name:15} {keys:>10,} keys, rows over {touched:>10,}: {before + behind:6.1f} ns/row "
                f"({before:.1f} before the exchange, {behind:.1f} behind), ratio {(before + behind) / least:.2f}"
            )


if __name__ == "__main__":
    main()
