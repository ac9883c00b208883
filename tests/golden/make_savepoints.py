"""Make savepoints of the format of today: ``python tests/golden/make_savepoints.py [names]``, once for each format.

Each is taken of a real job, whose rows so far and those of the job that goes on are compared with the whole result
where that can be done. Those of earlier formats stay as they are; ``0.1.0`` has those of format 1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from golden_savepoints import CASES, DATA, FOLDER, STOPS_AT, Golden, clear, copied, gone_on, write_files

from streamlab.state.checkpoints.manifest import FORMAT

_PATIENCE_S = 60


def main(names: list[str]) -> None:
    """Make those that are named, or all."""
    for name in names or CASES:
        with tempfile.TemporaryDirectory() as scratch:
            make(FOLDER / f"format-{FORMAT}" / name, CASES[name], Path(scratch))
        sys.stdout.write(f"{name}\n")


def make(target: Path, golden: Golden, scratch: Path) -> None:
    """Make one."""
    data, saved = scratch / "data", scratch / "saved"
    write_files(data)
    frame = golden.query(data)
    options = {"parallelism": 2, "checkpoint_every": "1h"}
    job = frame.sink_sqlite(scratch / "db", table="t", **options) if golden.runs_on else frame.start(**options)
    deadline = time.monotonic() + _PATIENCE_S
    while job.report().rows_in < STOPS_AT:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if golden.runs_on:
        job.savepoint(saved)
        job.cancel()
    else:
        job.stop(savepoint=saved)
    clear(target)
    copied(saved, target, (str(data), DATA))
    expected = gone_on(saved, golden, data, scratch / "home")
    if not golden.runs_on and not frame.plan.updating:
        whole = pl.concat([job.results(), expected])
        batch = golden.query(data).collect()
        columns = [name for name, dtype in batch.schema.items() if not dtype.is_float()]
        assert whole.select(columns).sort(columns).equals(batch.select(columns).sort(columns))
    expected.write_ipc(target / "expected.arrow", compression="zstd")


if __name__ == "__main__":
    main(sys.argv[1:])
