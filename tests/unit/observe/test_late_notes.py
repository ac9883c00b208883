"""Notes of late rows: columns of ours are read by position, so users' may have any name, and old notes can be read."""

from __future__ import annotations

import polars as pl

from streamlab.observe.late_notes import SHOWN, STORED, shown, stored

DETAILS = pl.DataFrame(
    {"outcome": ["merged"], "time_us": [1_000], "watermark_us": [4_000], "start_us": [0], "end_us": [2_000]}
)
ROWS = pl.DataFrame({"__late_outcome": ["mine"], "__late_time_us": [5], "outcome": ["too"]})


def test_users_columns_may_be_called_as_ours_were() -> None:
    notes = stored(DETAILS, ROWS, 9)
    found = shown([("windows", notes)])
    assert found.columns == [*SHOWN, "__late_outcome", "__late_time_us", "row.outcome"]
    assert found.row(0)[len(SHOWN) :] == ("mine", 5, "too")
    assert found.select("outcome", "step", "behind_ms", "closed_for_ms").row(0) == ("merged", "windows", 3.0, 2.0)


def test_notes_of_an_earlier_release_are_read() -> None:
    notes = stored(DETAILS, ROWS.select("outcome"), 9)
    old = notes.rename({f"__sl_late_{name}": f"__late_{name}" for name in STORED})
    assert old.columns != notes.columns
    assert shown([("windows", old)]).equals(shown([("windows", notes)]))
