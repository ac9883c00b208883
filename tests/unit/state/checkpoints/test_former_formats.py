"""What checkpoints of earlier formats hold is read as it would be written now; those of today are left alone."""

from __future__ import annotations

import polars as pl
import pytest

from streamlab.state.checkpoints.former_formats import snapshot_as_now, step_as_now
from streamlab.state.checkpoints.manifest import FORMAT, StoredColumn, StoredFact, StoredStep
from streamlab.state.snapshot import Snapshot

THEN = {
    "__key_city": "__sl_key_city",
    "__key_": "__sl_key_",
    "__pane": "__sl_pane",
    "__start": "__sl_start",
    "__end": "__sl_end",
    "__due": "__sl_due",
    "__closed": "__sl_closed",
    "__rows": "__sl_rows",
    "__all": "__sl_all",
    "__p12": "__sl_p12",
    "__given_n": "__sl_given_n",
    "__given___having1": "__sl_given___sl_having1",
    "__given___index__": "__sl_given___index__",
    "__having0": "__sl_having0",
}
USERS = ("city", "__index_level_0__", "__typename", "_start", "__p", "__p1x", "__row_kind", "__havings", "a__pane")
FRAME = pl.DataFrame({name: [1] for name in (*THEN, *USERS)})
SNAPSHOT = Snapshot({"panes": (FRAME, FRAME.clear())}, {"watermark": 3}, ("__key_city", "city"))


@pytest.mark.parametrize("written_in", [1, 2])
def test_columns_of_ours_get_their_names_of_today(written_in: int) -> None:
    found = snapshot_as_now(SNAPSHOT, written_in)
    assert [frame.columns for frame in found.keyed["panes"]] == [[*THEN.values(), *USERS]] * 2
    assert found.key_columns == ("__sl_key_city", "city")
    assert found.values == SNAPSHOT.values


def test_state_of_today_stays_as_it_is() -> None:
    """Its columns may be called as ours once were."""
    assert snapshot_as_now(SNAPSHOT, FORMAT) is SNAPSHOT


def test_what_is_said_of_steps() -> None:
    step = StoredStep(
        "group_by 5f3a",
        "rows",
        "group_by 5f3a",
        "path",
        "windows",
        facts=(
            StoredFact("key city", "String"),
            StoredFact("result __having0", "Boolean"),
            StoredFact("result n", "Int64"),
        ),
        columns={
            "__pane": StoredColumn("window_start", is_time=True, zone="UTC"),
            "__p0": StoredColumn("__having0"),
            "__given___having1": StoredColumn("__having1 (result)"),
            "n": StoredColumn("n (input)"),
        },
    )
    found = step_as_now(step, 2)
    assert [fact.name for fact in found.facts] == ["key city", "condition 1", "result n"]
    assert found.columns == {
        "__sl_having0": StoredColumn("condition 1"),
        "__sl_pane": StoredColumn("window_start", is_time=True, zone="UTC"),
        "__sl_p0": StoredColumn("condition 1"),
        "__sl_given___sl_having1": StoredColumn("condition 2"),
        "n": StoredColumn("n (input)"),
    }
    assert (found.name, found.path, found.kind) == (step.name, step.path, step.kind)
    assert step_as_now(step, FORMAT) is step
