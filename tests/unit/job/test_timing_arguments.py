"""Every source takes the same keyword arguments about time."""

from __future__ import annotations

import inspect

import pytest

import streamlab as sl

SOURCES = ("from_frame", "scan_parquet", "scan_csv", "scan_ndjson", "scan_ipc", "generate", "system_metrics", "socket")


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_takes_event_time_watermark_idleness_and_pace(name: str) -> None:
    arguments = inspect.signature(getattr(sl, name)).parameters
    assert {"event_time", "watermark", "idle_timeout", "pace", "max_advance"} <= set(arguments)
