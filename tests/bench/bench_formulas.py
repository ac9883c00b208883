"""Events made by formula, projected and thrown away: a whole job against Polars' streaming engine on the same formulas.

The formulas are those of Nexmark's bids, written anew for whole columns; the query is its first, the projection. Run by
itself, ``bench_formulas.py EVENTS THREADS``, it prints the seconds that Polars takes, imports left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

if __name__ == "__main__":
    os.environ["POLARS_MAX_THREADS"] = sys.argv[2]

import polars as pl

import streamlab as sl

_ROUNDS = 3
_EVENTS_PER_S = 100_000
_PRIME = 2_147_483_647
_NUMBER = pl.col("number")
# Of 50 events, the first four are people and auctions, the others bids.
_EPOCH, _PLACE = _NUMBER // 50, _NUMBER % 50
_LAST_AUCTION = _EPOCH * 3 + pl.when(_PLACE >= 4).then(2).otherwise(_PLACE - 1)


def _hashed(factor: int) -> pl.Expr:
    return (_NUMBER * factor) % _PRIME


_AUCTION = 1_000 + pl.when(_hashed(122_949_823) % 2 == 0).then(_LAST_AUCTION // 100 * 100).otherwise(
    pl.when(_LAST_AUCTION > 100)
    .then(_LAST_AUCTION - _hashed(141_650_939) % 100)
    .otherwise(_hashed(141_650_939) % (_LAST_AUCTION + 1))
)
_BIDDER = 1_000 + pl.when(_hashed(160_481_183) % 4 > 0).then(_EPOCH // 100 * 100 + 1).otherwise(
    pl.when(_EPOCH > 1_000).then(_EPOCH - _hashed(179_424_673) % 1_000).otherwise(_hashed(179_424_673) % (_EPOCH + 1))
)
_COLUMNS = (
    _AUCTION.alias("auction"),
    _BIDDER.alias("bidder"),
    (100 + _hashed(198_491_317) % 1_000_000 * (1 + _hashed(217_645_177) % 100)).alias("price"),
    pl.col("at"),
    pl.format("extra{}", _hashed(334_214_459) % 1_000).alias("extra"),
)
_IS_BID = _PLACE >= 4
_AT = pl.from_epoch(_NUMBER * 1_000_000 // _EVENTS_PER_S, time_unit="us").alias("at")


def _numbers(start: int, n: int) -> pl.DataFrame:
    return pl.select(number=pl.int_range(start, start + n)).with_columns(_AT)


def _nothing(batch: pl.DataFrame) -> None:
    """Take rows and do nothing."""


def formula_ratio(events: int, workers: int) -> tuple[float, float]:
    """Return the rate of whole jobs in events per second, and their ratio to Polars' rate."""
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        command = [sys.executable, __file__, str(events), str(workers)]
        theirs.append(float(subprocess.run(command, check=True, capture_output=True).stdout))
        began = time.perf_counter()
        bids = sl.generate(_numbers, limit=events, event_time="at", watermark="4s").filter(_IS_BID).select(*_COLUMNS)
        job = bids.sink_batches(_nothing, parallelism=workers)
        job.wait(600)
        ours.append(time.perf_counter() - began)
        if job.exception is not None:
            raise job.exception
    return events / median(ours), median(theirs) / median(ours)


def main() -> None:
    """Let Polars do it once."""
    numbers = pl.LazyFrame().select(number=pl.int_range(int(sys.argv[1]))).with_columns(_AT)
    query = numbers.filter(_IS_BID).select(*_COLUMNS)
    began = time.perf_counter()
    query.collect(engine="streaming")
    sys.stdout.write(f"{time.perf_counter() - began}\n")


if __name__ == "__main__":
    main()
