"""A job that shows what it is told to, for looks at panels without a job behind them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import polars as pl

from streamlab.core.messages import DEAD_LETTER_SCHEMA
from streamlab.observe.history import Sample, Sampler
from streamlab.observe.late_notes import SHOWN as LATE
from streamlab.observe.panes import SHOWN as PANES
from streamlab.observe.status import CheckpointStatus, Failure, JobState, JobStatus, TaskStatus

S = 1_000_000
NOW_US = 1_795_258_800 * S
HOUR = dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)
SPLITS = {
    "vertex": pl.String(), "subtask": pl.Int64(), "source": pl.String(), "split": pl.String(), "rows": pl.Int64(),
    "watermark": pl.Datetime("us", "UTC"), "lag_ms": pl.Float64(), "latest": pl.Datetime("us", "UTC"),
    "quiet_ms": pl.Float64(), "begun": pl.Boolean(), "idle": pl.Boolean(), "ended": pl.Boolean(),
}  # fmt: skip
FAILURE = Failure(
    message="map: ValueError: could not convert\n\tcol('word')\n  → on_error='dead_letter' sets such rows aside",
    step="map",
    sample="word\nmany",
    traceback="Traceback\n  File x",
)


def task(vertex: str, number: int = 0, **more: Any) -> TaskStatus:
    """Return a task that has done something, more with each number."""
    figures = {
        "rows_in": 1000 * number, "rows_out": 997 * number, "rows_in_per_s": 7.0 * number, "rows_out_per_s": 3.0,
        "busy_ms_per_s": 300.0, "idle_ms_per_s": 600.0, "backpressured_ms_per_s": 100.0, "state_bytes": 317 * number,
        "watermark_us": 1_357_016_400 * S + number * 60 * S, "lag_ms": 1500.0,
    }  # fmt: skip
    return TaskStatus(vertex=vertex, subtask=0, steps=(vertex, "→ more"), **{**figures, **more})


def checkpoint(id_: int, **more: Any) -> CheckpointStatus:
    """Return a checkpoint that is kept."""
    figures = {"state": "complete", "triggered_us": NOW_US + id_ * S, "duration_ms": 3.0 * id_, "size_bytes": 999 * id_}
    return CheckpointStatus(**{"id": id_, **figures, **more})


def status(number: int = 1, state: JobState = JobState.RUNNING, **more: Any) -> JobStatus:
    """Return the status of a job that has come some way, further with each number."""
    figures: dict[str, Any] = {
        "id": "j-1", "name": "planes", "state": state, "submitted_us": NOW_US, "started_us": NOW_US + S,
        "reported_us": NOW_US + (2 + number) * S, "rows_in": 1000 * number, "rows_out": 13 * number,
        "late_rows": number, "rows_total": 80_000, "rows_in_per_s": 250.0 * number,
        "watermark_us": 1_357_016_400 * S + number * 60 * S,
        "latency_p50_ms": 3.0 * number, "latency_p99_ms": 70.0 * number, "state_bytes": 317 * number,
        "tasks": (task("read", number), task("count", number)),
        "checkpoints": (
            checkpoint(1, state="deleted"), checkpoint(2, restored=1), checkpoint(3, state="failed", reason="a disk"),
            checkpoint(4, attempt=2), checkpoint(5, state="running", duration_ms=None, attempt=2),
        ),
    }  # fmt: skip
    return JobStatus(**{**figures, **more})


def table(number: int = 1) -> pl.DataFrame:
    """Return eight rows, whose numbers and words are longer or shorter with each number."""
    return pl.DataFrame(
        {
            "origin": [None, *"ABCDEFG"],
            "at": [HOUR + dt.timedelta(hours=h) for h in range(8)],
            "flights": [number * 7**k for k in range(8)],
            "share": [number / 3, None, float("inf"), 1e-9, *([0.5] * 4)],
            "words": ["y" * (number % 5 + 1)] * 8,
            "list": [[1, 2]] * 8,
            "what <b>this</b> is called in the very long words of those who have made it": [number] * 8,
        }
    )


class ShownJob:
    """A job as a panel reads it.

    Parameters
    ----------
    now
        Its status; may be changed.
    rows
        Its result table; may be changed.
    """

    key_columns = ("at",)
    takes_checkpoints = True
    ends_with_process = True
    is_kept = True
    operators = pl.DataFrame({"operator": ["count"], "rows": [7]})

    def __init__(self, now: JobStatus, rows: pl.DataFrame) -> None:
        self.now = now
        self.rows = rows
        self.findings: list[Any] = []
        self._sampler = Sampler()

    @property
    def name(self) -> str:
        return self.now.name

    @property
    def status(self) -> JobState:
        return self.now.state

    @property
    def checkpoint(self) -> ShownJob:
        return self

    def report(self) -> JobStatus:
        return self.now

    def results(self) -> pl.DataFrame:
        return self.rows

    def newest_changes(self) -> pl.DataFrame:
        return self.rows.select(pl.lit("+I").alias("op"), pl.all()).reverse()

    def history_feed(self) -> ShownJob:
        return self

    def read_samples(self) -> list[Sample]:
        sample = self._sampler.sample(self.now)
        return [] if sample is None else [sample]

    def diagnosis(self, report: Any) -> list[Any]:
        del report
        return self.findings

    def graph(self) -> pl.DataFrame:
        names = [one.vertex for one in self.now.tasks]
        return pl.DataFrame(
            {
                "vertex": names,
                "steps": [[name, "more"] for name in names],
                "parallelism": [2] * len(names),
                "gives_to": [[target] for target in names[1:]] + [[]] * bool(names),
                "routed": [["hash by origin, carrier and day"]] * len(names[1:]) + [[]] * bool(names),
            },
            schema_overrides={
                "steps": pl.List(pl.String()),
                "gives_to": pl.List(pl.String()),
                "routed": pl.List(pl.String()),
            },
        )

    def newest_panes(self) -> tuple[pl.DataFrame, bool]:
        shown = [("count", HOUR, HOUR, state, 12_345, None, 1, 0) for state in ("open", "fired", "refined", "closed")]
        return pl.DataFrame(shown, schema=PANES, orient="row"), True

    def lateness(self) -> pl.DataFrame:
        late = [("set aside", "count", HOUR, HOUR, HOUR, 90_000.0, HOUR, HOUR, 1300.0)] * 3
        return pl.DataFrame(late, schema=LATE, orient="row").with_columns(tail=pl.lit("N1"))

    def splits(self, report: Any) -> pl.DataFrame:
        del report
        splits = [("read", 0, "read", f"{n}.csv", 10**n, None, None, HOUR, 5.0, True, n == 2, n == 1) for n in range(4)]
        return pl.DataFrame(splits, schema=SPLITS, orient="row")

    def dead_letters(self) -> pl.DataFrame:
        return pl.DataFrame({name: ["x"] * 2 for name in DEAD_LETTER_SCHEMA.names()})

    def log(self, n_bytes: int) -> str:
        del n_bytes
        return "from a worker\n" * 30

    def at(self, checkpoint_id: int) -> ShownJob:
        del checkpoint_id
        return self

    def state(self, operator: str) -> pl.DataFrame:
        return pl.DataFrame({"operator": [operator]})

    state_by_key = state

    def sources(self) -> pl.DataFrame:
        return pl.DataFrame({"split": ["0.csv"]})

    def move(self, number: int) -> None:
        """Go on by as much."""
        self.now = msgspec.structs.replace(status(number), state=self.now.state)
        self.rows = table(number)
