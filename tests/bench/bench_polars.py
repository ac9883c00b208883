"""The same query once in Polars' streaming engine, in a process of its own: ``bench_polars.py FOLDER QUERY THREADS``.

Prints the seconds that the query took, import and start left out.
"""

from __future__ import annotations

import os
import sys
import time

if __name__ == "__main__":
    os.environ["POLARS_MAX_THREADS"] = sys.argv[3]

import polars as pl
from bench_queries import QUERIES


def main() -> None:
    frame = pl.scan_parquet(f"{sys.argv[1]}/*.parquet")
    query = QUERIES[sys.argv[2]].polars(frame)
    started = time.perf_counter()
    query.collect(engine="streaming")
    sys.stdout.write(f"{time.perf_counter() - started}\n")


if __name__ == "__main__":
    main()
