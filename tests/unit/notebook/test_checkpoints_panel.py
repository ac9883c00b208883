"""The checkpoints of a job as a panel shows them, and the part of one that is looked into."""

from __future__ import annotations

from typing import Any

import polars as pl

from streamlab.core.errors import OptionError
from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.checkpoints import Past, timeline
from streamlab.notebook.panel.choice import Choice
from streamlab.observe.status import CheckpointStatus, JobState, JobStatus


def checkpoint(id_: int, **more: Any) -> CheckpointStatus:
    return CheckpointStatus(
        **{"id": id_, "state": "complete", "triggered_us": id_ * 1_000_000, "duration_ms": 5.0, **more}
    )


def status(*checkpoints: CheckpointStatus) -> JobStatus:
    return JobStatus(id="j", name="n", state=JobState.RUNNING, checkpoints=checkpoints)


def test_the_timeline_says_what_was_done_what_failed_and_where_it_was_restarted() -> None:
    shown = timeline(
        status(
            checkpoint(1, state="deleted"),
            checkpoint(2, restored=1),
            checkpoint(3, attempt=2, state="abandoned", reason="took\x1b[0m too long"),
            checkpoint(4, attempt=2, state="running", duration_ms=None, kind="savepoint", trigger="request"),
        )
    )
    assert [one["mark"] for one in shown] == ["·", "✓", "✗", "○"]
    assert [one["kept"] for one in shown] == [False, True, False, False]
    assert [one["before"] for one in shown] == ["", "", "restart: attempt 2", ""]
    assert shown[1]["restored"] == "restored once"
    assert shown[2]["reason"] == "took␛[0m too long"
    assert (shown[3]["kind"], shown[3]["duration"]) == ("savepoint asked for", "…")


class PastJob:
    """A job whose checkpoints hold their number; it counts how often they are opened."""

    def __init__(self) -> None:
        self.opened = 0
        self.held: set[int] = set()

    def at(self, checkpoint_id: int) -> Any:
        self.opened += 1
        if checkpoint_id == 9:
            text = "checkpoint 9: damaged"
            raise OptionError(text)
        return Moment(checkpoint_id)

    def hold(self, checkpoint_id: int) -> Any:
        self.held.add(checkpoint_id)
        moment = self.at(checkpoint_id)
        moment.release = lambda: self.held.remove(checkpoint_id)
        return moment


class Moment:
    def __init__(self, number: int) -> None:
        self.number = self.id = number
        self.checkpoint = self
        self.operators = pl.DataFrame({"operator": ["empty", "full", "full (local)", "full"], "rows": [0, 7, 90, 7]})

    def results(self) -> pl.DataFrame:
        return pl.DataFrame({"n": [self.number]})

    def state(self, operator: str) -> pl.DataFrame:
        return pl.DataFrame({"subtask": [0, 1], "part": ["panes"] * 2, "operator": [operator] * 2, "sum(v)": [1, 2]})

    def state_by_key(self, operator: str) -> pl.DataFrame:
        return self.state(operator).group_by("operator").agg(pl.col("sum(v)").sum())

    def sources(self) -> pl.DataFrame:
        return pl.DataFrame({"split": ["s"]})


def test_one_part_of_one_checkpoint_is_read_once() -> None:
    job = PastJob()
    past = Past(job)
    three = status(checkpoint(1, state="deleted"), checkpoint(2), checkpoint(3))
    for _ in range(3):
        shown = past.values(three, Choice(), Binary())
    assert (shown["id"], shown["ids"], shown["newest"], job.opened) == (3, [2, 3], True, 1)
    assert [part for part, _ in shown["parts"]] == [
        "results",
        "state:full",
        "state:empty",
        "sources",
        "partial:full (local)",
    ]
    assert dict(shown["parts"])["state:full"] == "state of full, 14 rows"
    assert dict(shown["parts"])["partial:full (local)"] == "partial results on their way to full, 90 rows"
    older = past.values(three, Choice(at=2, part="state:full"), Binary())
    assert (older["id"], older["part"], older["table"]["columns"]) == (2, "state:full", ["operator", "sum(v)"])
    partial = past.values(three, Choice(at=2, part="partial:full (local)"), Binary())
    assert partial["table"]["columns"] == ["subtask", "part", "operator", "sum(v)"]
    assert past.values(three, Choice(part="sources"), Binary())["table"]["columns"] == ["split"]
    assert past.values(three, Choice(part="state:gone"), Binary())["part"] == "results"


def test_a_chosen_checkpoint_stays_until_another_is_chosen() -> None:
    job = PastJob()
    past = Past(job)
    past.values(status(checkpoint(2), checkpoint(3)), Choice(), Binary())
    assert job.held == set()
    past.values(status(checkpoint(2), checkpoint(3)), Choice(at=2), Binary())
    later = status(checkpoint(2, state="deleted"), checkpoint(3), checkpoint(4))
    shown = past.values(later, Choice(at=2), Binary())
    assert (shown["id"], shown["ids"], shown["error"], job.held) == (2, [2, 3, 4], "", {2})
    shown_held = timeline(later, past.held)
    assert [one["words"] for one in shown_held] == ["kept while it is looked at", "kept", "kept"]
    # What can be done with it can be done for as long as it is there.
    assert [(one["mark"], one["kept"]) for one in shown_held] == [("✓", True)] * 3
    shown = past.values(later, Choice(at=3), Binary())
    assert (shown["ids"], job.held) == ([3, 4], {3})
    past.values(later, Choice(), Binary())
    assert job.held == set()
    past.values(later, Choice(at=4), Binary())
    past.close()
    assert job.held == set()


def test_without_checkpoints_and_with_a_damaged_one() -> None:
    past = Past(PastJob())
    assert past.values(status(), Choice(), Binary())["id"] is None
    shown = past.values(status(checkpoint(9)), Choice(), Binary())
    assert shown["table"] is None
    assert "damaged" in shown["error"]
