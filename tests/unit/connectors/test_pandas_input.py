"""Frames of pandas that Polars cannot take are refused with the column and the reason."""

from __future__ import annotations

import pandas as pd
import pytest

from streamlab.connectors.frames import from_frame
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
