"""Times that no window arithmetic can hold are dead letters, wherever they come in; all others are rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from reading import Run

from streamlab.connectors.files.files import scan_parquet
from streamlab.connectors.sources.frames import from_frame
from streamlab.core.messages import DEAD_LETTERS, MAIN, Batch
from streamlab.operators.base import OperatorContext
from streamlab.operators.watermarks import AssignWatermarksSpec

YEARS = 365 * 86_400_000_000
FAR = {
    pl.Datetime("us"): [-(2**63), -(2**62) - 1, 2**62 + 1, 2**63 - 1],
    pl.Datetime("ms"): [-(2**63), -(2**60), 2**60, 2**63 - 1],
    pl.Date(): [-(2**31), 2**31 - 1],
}
NEAR = {
    pl.Datetime("us"): [-(2**62), -8_000 * YEARS, 0, 8_000 * YEARS, 2**62],
    pl.Datetime("ms"): [-(8_000 * YEARS) // 1000, 0, 8_000 * YEARS // 1000],
    pl.Datetime("ns"): [-(2**63) + 1, 0, 2**63 - 1],
    pl.Date(): [-3_000_000, 0, 3_000_000],
}
CASES = [pytest.param(dtype, NEAR[dtype], FAR.get(dtype, []), id=str(dtype)) for dtype in NEAR]


def frame_of(dtype: pl.DataType, near: list[int], far: list[int]) -> pl.DataFrame:
    physical = pl.Int32 if isinstance(dtype, pl.Date) else pl.Int64
    times = [x for pair in zip([*near, *far], reversed([*near, *far]), strict=True) for x in pair]
    return pl.DataFrame({"at": pl.Series(times, dtype=physical).cast(dtype), "n": range(len(times))})


@pytest.mark.parametrize(("dtype", "near", "far"), CASES)
def test_in_a_source(dtype: pl.DataType, near: list[int], far: list[int]) -> None:
    frame = frame_of(dtype, near, far)
    run = Run(from_frame(frame, event_time="at", watermark="1d")).to_end()
    assert sorted(run.rows["at"].to_physical()) == sorted(near * 2)
    assert run.reasons == ["the event time 'at' is too far from 1970"] * (2 * len(far))
    assert run.reader.rows_read == frame.height


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(("dtype", "near", "far"), CASES)
def test_in_parquet_with_and_without_statistics(
    tmp_path: Path, dtype: pl.DataType, near: list[int], far: list[int], statistics: bool
) -> None:
    for number, rows in enumerate([frame_of(dtype, near, far), frame_of(dtype, near, far[:1])]):
        rows.write_parquet(tmp_path / f"{number}.parquet", statistics=statistics)
    run = Run(scan_parquet(tmp_path, event_time="at", watermark="1d")).to_end()
    assert sorted(run.rows["at"].to_physical()) == sorted(near * 4)
    assert len(run.reasons) == 2 * len(far) + 2 * len(far[:1])


@pytest.mark.parametrize(("dtype", "near", "far"), CASES)
def test_in_with_watermark(dtype: pl.DataType, near: list[int], far: list[int]) -> None:
    operator = AssignWatermarksSpec("with_watermark", "at", dtype, delay_us=1).build(OperatorContext())
    out = [m for m in operator.process(Batch(frame_of(dtype, near, far))) if isinstance(m, Batch)]
    rows = pl.concat([m.collected() for m in out if m.tag == MAIN])
    reasons = [reason for m in out if m.tag == DEAD_LETTERS for reason in m.collected()["reason"]]
    assert sorted(rows["at"].to_physical()) == sorted(near * 2)
    assert reasons == ["the event time 'at' is too far from 1970"] * (2 * len(far))
