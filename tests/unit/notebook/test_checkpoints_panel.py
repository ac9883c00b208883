"""The checkpoints of a job as a panel shows them, and the part of one that is looked into."""

from __future__ import annotations

from typing import Any

import polars as pl

from streamlab.core.errors import OptionError
from streamlab.notebook.panel.checkpoints import Past, timeline
from streamlab.notebook.panel.choice import Choice
from streamlab.notebook.wire import Binary
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

    def at(self, checkpoint_id: int) -> Any:
        self.opened += 1
        if checkpoint_id == 9:
            text = "checkpoint 9: damaged"
            raise OptionError(text)
        return Moment(checkpoint_id)


class Moment:
    def __init__(self, number: int) -> None:
        self.number = number
        self.checkpoint = self
        self.operators = pl.DataFrame({"operator": ["empty", "full"], "rows": [0, 7]})

    def results(self) -> pl.DataFrame:
        return pl.DataFrame({"n": [self.number]})

    def state(self, operator: str) -> pl.DataFrame:
        return pl.DataFrame({"operator": [operator]})

    def sources(self) -> pl.DataFrame:
        return pl.DataFrame({"split": ["s"]})


def test_one_part_of_one_checkpoint_is_read_once() -> None:
    job = PastJob()
    past = Past(job)
    three = status(checkpoint(1, state="deleted"), checkpoint(2), checkpoint(3))
    for _ in range(3):
        shown = past.values(three, Choice(), Binary())
    assert (shown["id"], shown["ids"], shown["newest"], job.opened) == (3, [2, 3], True, 1)
    assert [part for part, _ in shown["parts"]] == ["results", "state:full", "state:empty", "sources"]
    older = past.values(three, Choice(at=2, part="state:full"), Binary())
    assert (older["id"], older["part"], older["table"]["columns"]) == (2, "state:full", ["operator"])
    assert past.values(three, Choice(part="sources"), Binary())["table"]["columns"] == ["split"]
    assert past.values(three, Choice(part="state:gone"), Binary())["part"] == "results"


def test_without_checkpoints_and_with_a_damaged_one() -> None:
    past = Past(PastJob())
    assert past.values(status(), Choice(), Binary())["id"] is None
    shown = past.values(status(checkpoint(9)), Choice(), Binary())
    assert shown["table"] is None
    assert "damaged" in shown["error"]
