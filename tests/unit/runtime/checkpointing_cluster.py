"""Workers and a store as the coordinator of a job with checkpoints sees them; every command is held to the laws."""

from __future__ import annotations

import pytest

from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure, JobState, TaskStatus
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.messages import protocol as p
from streamlab.runtime.messages.protocol import Layout, VertexLayout
from streamlab.state.checkpoints.manifest import KnownSplit, Manifest, StoredStep, TaskState

SECOND_US = 1_000_000
SPLITS = {"source": (KnownSplit("a", 10), KnownSplit("b"))}
LOST = Failure(message="gone", kind="WorkerLost")


def layout(parallelism: int) -> Layout:
    source = VertexLayout("source", ("source",), parallelism, is_source=True, is_sink=False)
    sink = VertexLayout("sink", ("sink",), parallelism, is_source=False, is_sink=True)
    counts = StoredStep("counts", f"counts x {parallelism}", "counts", "", "groups")
    return Layout(parallelism, (source, sink), f"graph-{parallelism}", (counts,))


def rescaling(parallelism: int) -> p.RescaleRequested:
    wanted = layout(parallelism)
    return p.RescaleRequested(parallelism, wanted.vertices, wanted.graph, f"rescale {parallelism}", wanted.steps)


class Cluster:
    """Workers and a store as a coordinator sees them; what they do next is the test's choice.

    It keeps the laws: every command is looked at as it comes.
    """

    def __init__(self, *, parallelism: int = 2, **options: object) -> None:
        given_options = {"checkpoint_every_ms": 1_000, "restart_delay_ms": 500, "max_restarts": 1_000, **options}
        self.options = JobOptions("job", **given_options)
        self.first_layout = layout(parallelism)
        self.coordinator = Coordinator("j-1", self.options, self.first_layout, submitted_us=0)
        self.now_us = 0
        self.attempts: list[p.StartWorkers] = []
        self.ended: set[int] = set()
        self.finals: list[p.Finish] = []
        self.manifests: dict[int, Manifest] = {}
        self.damaged: set[int] = set()
        self.deleted: set[int] = set()
        self.storing: Manifest | None = None
        self.commands: list[p.Command] = []
        self.asked = "run"
        self._forget()
        self.carry_out(self.coordinator.start(0))

    def _forget(self) -> None:
        self.started: set[int] = set()
        self.deployed = False
        self.in_flight: int | None = None
        self.snapshots: dict[tuple[str, int], int] = {}
        self.over: set[tuple[str, int]] = set()
        self.to_commit: list[tuple[int, int]] = []
        self.held = False

    @property
    def attempt(self) -> int:
        return self.attempts[-1].attempt

    @property
    def runs(self) -> bool:
        """Whether the newest attempt has processes."""
        return self.attempt not in self.ended and not self.finals

    @property
    def tasks(self) -> list[tuple[str, int]]:
        return [(v.id, n) for v in self.attempts[-1].layout.vertices for n in range(v.parallelism)]

    @property
    def usable(self) -> list[int]:
        return [one for one in sorted(self.manifests) if one not in self.damaged | self.deleted]

    def handle(self, event: p.Event) -> None:
        self.carry_out(self.coordinator.handle(event, self.now_us))

    def carry_out(self, commands: list[p.Command]) -> None:
        for command in commands:
            self.commands.append(command)
            assert not self.finals, f"{command} after the end"
            match command:
                case p.StartWorkers():
                    assert self.storing is None
                    assert all(command.attempt > before.attempt for before in self.attempts)
                    assert not self.attempts or self.attempt in self.ended
                    assert command.restored == (self.usable[-1] if self.usable else 0)
                    self.attempts.append(command)
                    self._forget()
                case p.EndWorkers(attempt):
                    assert attempt == self.attempt
                    self.ended.add(attempt)
                    self._forget()
                case p.Deploy():
                    assert self.started == set(range(self.attempts[-1].count))
                    assert command.restored == self.attempts[-1].restored
                    assert not self.deployed
                    self.deployed = True
                case p.TriggerCheckpoint(checkpoint_id, then_hold):
                    assert self.deployed
                    assert self.in_flight is None
                    assert self.storing is None
                    assert checkpoint_id not in self.manifests
                    assert not self.held, "one more barrier after the last one"
                    self.in_flight, self.snapshots, self.held = checkpoint_id, {}, then_hold
                case p.StoreCheckpoint(manifest):
                    assert self.storing is None
                    assert {(task.vertex, task.subtask) for task in manifest.tasks} == set(self.tasks)
                    for task in manifest.tasks:
                        key = task.vertex, task.subtask
                        assert key in self.over if task.finished else self.snapshots[key] == manifest.id
                    self.storing, self.in_flight = manifest, None
                case p.CommitCheckpoint(checkpoint_id):
                    assert checkpoint_id in self.usable
                    self.to_commit += [(worker, checkpoint_id) for worker in range(self.attempts[-1].count)]
                case p.RetainCheckpoints(keep):
                    assert self.in_flight is None
                    assert self.storing is None
                    self.deleted |= set(self.usable[:-keep])
                case p.StopSources():
                    assert self.deployed
                    assert self.asked == "drain" or all(task in self.over for task in self.tasks if task[0] == "sink")
                case p.SetPaused(paused):
                    assert paused == (self.asked == "pause")
                case p.Finish(status):
                    self.finals.append(command)
                    if status.state in {JobState.FINISHED, JobState.STOPPED}:
                        newest = self.manifests[self.usable[-1]]
                        drained = all(task.finished for task in newest.tasks)
                        assert drained or (self.asked == "savepoint" and self.held)

    # -- what may happen -----------------------------------------------------------------------------------------

    def start_worker(self, at: int) -> None:
        missing = sorted(set(range(self.attempts[-1].count)) - self.started)
        if self.runs and missing:
            worker = missing[at % len(missing)]
            self.started.add(worker)
            lists = worker == 0 and self.attempts[-1].lists_splits
            self.handle(p.WorkerStarted(worker, self.attempt, SPLITS if lists else None))

    def snapshot(self, at: int) -> None:
        left = [task for task in self.tasks if task not in self.over and task not in self.snapshots]
        if self.runs and self.in_flight is not None and left:
            task = left[at % len(left)]
            self.snapshots[task] = self.in_flight
            part = TaskState(*task)
            self.handle(p.TaskSnapshotted(task[1], self.attempt, self.in_flight, part))

    def fail_snapshot(self, at: int) -> None:
        if self.runs and self.in_flight is not None:
            failed, self.in_flight = self.in_flight, None
            self.handle(p.SnapshotFailed(at % self.attempts[-1].count, self.attempt, failed, "no room"))

    def end_task(self, at: int) -> None:
        left = [task for task in self.tasks if task not in self.over]
        # Sinks end when all sources have; a source that holds does not end.
        sources = [task for task in left if task[0] == "source" and not (self.held and task in self.snapshots)]
        may = sources if any(task[0] == "source" for task in left) else left
        if self.runs and self.deployed and may:
            vertex, subtask = may[at % len(may)]
            self.over.add((vertex, subtask))
            status = TaskStatus(vertex=vertex, subtask=subtask, rows_in=1)
            part = TaskState(vertex, subtask, finished=True)
            self.handle(p.TaskFinished(subtask, self.attempt, status, part))

    def store(self, *, well: bool = True) -> None:
        if self.storing is not None and not self.finals:
            manifest, self.storing = self.storing, None
            if well:
                self.manifests[manifest.id] = manifest
                self.handle(p.CheckpointStored(manifest.id))
            else:
                self.handle(p.CheckpointNotStored(manifest.id, "no room"))

    def commit(self, at: int) -> None:
        if self.runs and self.to_commit:
            worker, checkpoint_id = self.to_commit.pop(at % len(self.to_commit))
            self.handle(p.Committed(worker, self.attempt, checkpoint_id))

    def lose(self, at: int) -> None:
        if self.runs:
            self.handle(p.WorkerLost(at % self.attempts[-1].count, self.attempt, LOST, from_outside=True))

    def fail(self, at: int) -> None:
        if self.runs:
            failure = Failure(message=f"failure {at} at {self.now_us}", step="map")
            self.handle(p.TaskFailed(at % self.attempts[-1].count, self.attempt, failure))

    def damage(self, at: int) -> None:
        restored = self.attempts[-1].restored
        if self.runs and restored and self.started and not self.deployed:
            return
        if self.runs and restored and self.deployed and not self.over and restored == (self.usable or [0])[-1]:
            self.damaged.add(restored)
            self.handle(p.RestoreFailed(at % self.attempts[-1].count, self.attempt, restored, "a flipped bit"))

    def tick(self, us: int = 200_000) -> None:
        self.now_us += us
        before = self.coordinator.status()
        self.handle(p.Tick(us))
        after = self.coordinator.status()
        given_up = [c for c in after.checkpoints if c.state == "abandoned"]
        if self.in_flight is not None and self.in_flight in {c.id for c in given_up} and before != after:
            self.in_flight = None

    def ask(self, what: str) -> None:
        if self.finals:
            return
        stops = self.asked in {"drain", "savepoint"}
        match what:
            case "pause" if not stops:
                self.asked = "pause"
                self.handle(p.PauseRequested())
            case "resume" if not stops:
                self.asked = "run"
                self.handle(p.ResumeRequested())
            case "drain" if not stops:
                self.asked = "drain"
                self.handle(p.StopRequested())
            case "savepoint" if not stops:
                self.asked = "savepoint"
                self.handle(p.StopRequested("stop"))
            case "cancel":
                self.asked = "cancel"
                self.handle(p.CancelRequested())
            case "checkpoint":
                self.handle(p.CheckpointRequested(f"token {self.now_us}"))
            case "rescale":
                self.handle(rescaling(3 if self.attempts[-1].layout.parallelism != 3 else 1))

    # -- well-behaved runs ---------------------------------------------------------------------------------------

    def settle(self, steps: int = 400) -> None:
        """Let everything go well until nothing is left to do but reading."""
        for _ in range(steps):
            if self.finals:
                return
            before = self._progress
            self.start_worker(0)
            self.snapshot(0)
            self.store()
            self.commit(0)
            self.tick(1 if self.deployed else 200_000)
            if self.deployed and before == self._progress:
                return
        pytest.fail("it does not settle")

    @property
    def _progress(self) -> tuple[int, ...]:
        told = [c for c in self.commands if not isinstance(c, p.Ping | p.Publish)]
        return len(told), len(self.started), len(self.snapshots), len(self.to_commit)

    def take_checkpoint(self) -> int:
        self.handle(p.CheckpointRequested(f"wanted {len(self.commands)}"))
        self.settle()
        return self.usable[-1]

    def end_all(self) -> None:
        for _ in self.tasks:
            self.end_task(0)
        self.settle()

    @property
    def state(self) -> JobState:
        return self.coordinator.state
