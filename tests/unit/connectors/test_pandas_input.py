"""Frames of pandas that Polars cannot take are refused with the column and the reason."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from streamlab.connectors.sources.frames import from_frame
from streamlab.core.errors import PlanError


def test_a_column_of_several_types() -> None:
    frame = pd.DataFrame({"fine": [1, 2, 3], "mixed": [1, "x", None]})
    with pytest.raises(PlanError, match=r"^from_frame: needs columns with values of one type, .* in column 'mixed'"):
        from_frame(frame)


def test_two_columns_of_one_name() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(PlanError, match=r"^from_frame: needs column names that differ, got 'a' twice"):
        from_frame(frame)


def test_the_index_is_left_out_and_names_become_text() -> None:
    frame = pd.DataFrame({0: [1, 2]}, index=pd.date_range("2024-01-01", periods=2, tz="Europe/Berlin"))
    assert from_frame(frame).schema.names() == ["0"]


def test_who_has_no_frames_of_pandas_does_not_wait_for_it() -> None:
    """Each worker, and a notebook's first cell, would take half as long again to begin."""
    code = """import sys
import polars as pl
import streamlab as sl
import streamlab.runtime.worker.worker
sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), limit=3)
sl.from_frame(pl.DataFrame({"n": [1]}))
print("pandas" in sys.modules)
import pandas
print(sl.from_frame(pandas.DataFrame({"n": [1]})).schema.names())"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines() == ["False", "['n']"]
