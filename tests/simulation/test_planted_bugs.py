"""The test of the tester: bugs that are planted into the production classes, each of which 360 seeds must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from streamlab.connectors.reading import ended_splits
from streamlab.connectors.reading.finished_splits import FinishedSplits
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.connectors.reading.reader import SourceReader
from streamlab.core.messages import Barrier
from streamlab.runtime.coordinator import coordinator
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.messages.protocol import CommitCheckpoint, StoreCheckpoint
from streamlab.runtime.task.task import Task
from streamlab.runtime.task.task_values import Restored
from streamlab.runtime.worker import deployment
from streamlab.runtime.worker.checkpoint_thread import CheckpointThread
from streamlab.state.checkpoints.snapshots import SnapshotWriter
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.testing.faulty_blobs import FaultyBlobs
from streamlab.testing.recovery import RecoveryRun, recover, shrunk, told
from streamlab.testing.scenarios import SCENARIOS

_SEEDS = 360

Plant = Callable[[pytest.MonkeyPatch], None]


def barrier_before_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Send the barrier on at once, and take the snapshot when the next message has been processed."""
    receive, late = Task.receive, {}

    def forward(self: Task, barrier: Barrier) -> None:
        if self.is_source:
            self._snapshot(barrier.checkpoint_id)
        else:
            late[self] = barrier
        for router in self._routers:
            self._out += router.broadcast(barrier)

    def process(self: Task, channel: Any, message: Any) -> Any:
        waiting = late.pop(self, None)
        out = receive(self, channel, message)
        if waiting is not None and not self.finished:
            self._snapshot(waiting.checkpoint_id)
            out += self._taken()
        return out

    patch.setattr(Task, "_pass", forward)
    patch.setattr(Task, "receive", process)


def commit_before_manifest(patch: pytest.MonkeyPatch) -> None:
    """Tell sinks to commit together with the order to store the manifest."""
    store = Coordinator._store_if_whole

    def both(self: Coordinator) -> Any:
        commands = store(self)
        stored = [one for one in commands if isinstance(one, StoreCheckpoint)]
        return [*commands, *(CommitCheckpoint(one.manifest.id) for one in stored)]

    patch.setattr(Coordinator, "_store_if_whole", both)


def acknowledged_before_durable(patch: pytest.MonkeyPatch) -> None:
    """Report a task's part first and store it afterwards."""
    store = CheckpointThread._store

    def early(self: CheckpointThread, vertex: str, subtask: int, taken: Any, alignment_us: int) -> None:
        durable, report = self._writer, self._report
        self._writer = SnapshotWriter(StateFiles(FaultyBlobs()))
        store(self, vertex, subtask, taken, alignment_us)
        self._writer = durable

        def later() -> None:
            self._report = lambda event: None
            store(self, vertex, subtask, taken, alignment_us)
            self._report = report

        self._do(later)

    patch.setattr(CheckpointThread, "_store", early)


def positions_after_the_read(patch: pytest.MonkeyPatch) -> None:
    """Let the source read on before its positions are taken; the rows follow the barrier."""

    def inject(self: Task, barrier: Barrier) -> Any:
        if not self.finished:
            read = self._reader.poll(0)
            self._pass(barrier)
            for message in read:
                self._from_source(message)
        return self._taken()

    patch.setattr(Task, "inject_barrier", inject)


def finished_restored_as_unfinished(patch: pytest.MonkeyPatch) -> None:
    """Let a task that had ended begin once more, with the empty state that it left."""
    restored_task = deployment.restored_task

    def unfinished(*arguments: Any, **options: Any) -> Restored:
        return replace(restored_task(*arguments, **options), finished=False)

    patch.setattr(deployment, "restored_task", unfinished)


def abandoned_transactions_dropped(patch: pytest.MonkeyPatch) -> None:
    """Keep in a checkpoint only what was prepared for it, not what was for those that came to nothing."""
    snapshot = Task._snapshot

    def only_the_last(self: Task, checkpoint_id: int) -> None:
        self._prepared.clear()
        snapshot(self, checkpoint_id)

    patch.setattr(Task, "_snapshot", only_the_last)


def found_splits_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Keep in a checkpoint only the splits that were there when the job began, and take others for known afterwards."""
    found, is_known = coordinator.with_found_splits, SourceReader._is_known

    def only_listed(splits: Any, tasks: Any) -> Any:
        return splits, found(splits, tasks)[1]

    patch.setattr(coordinator, "with_found_splits", only_listed)
    patch.setattr(ReaderSnapshot, "splits_found", lambda self, otherwise: list(otherwise))
    patch.setattr(SourceReader, "_is_known", lambda self, name: is_known(self, name) or name in self._restored.splits)


def old_finished_splits_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Leave out of a checkpoint the splits that have ended before the last ones, of which there are few here."""
    patch.setattr(ended_splits, "_KNOWN_WELL", 1)
    patch.setattr(ended_splits.EndedSplits, "stored", lambda self: FinishedSplits())


@pytest.mark.parametrize(
    ("plant", "scenario"),
    [
        (barrier_before_snapshot, "groups"),
        (commit_before_manifest, "plain"),
        (acknowledged_before_durable, "groups"),
        (positions_after_the_read, "windows"),
        (finished_restored_as_unfinished, "first"),
        (abandoned_transactions_dropped, "join"),
        (found_splits_forgotten, "followed"),
        (old_finished_splits_forgotten, "followed"),
    ],
)
def test_a_planted_bug_is_found(plant: Plant, scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among the 360 seeds those of one query suffice."""
    plant(monkeypatch)
    assert _first_failure(scenario) is not None


def test_its_schedule_is_shrunk_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    positions_after_the_read(monkeypatch)
    found = _first_failure("join", "rows that were shown: ")
    assert found is not None
    smallest = shrunk(found)
    assert smallest.failure.startswith("rows that were shown: ")
    assert 1 <= len(smallest.faults) <= 2
    story = told(smallest).splitlines()
    assert story[0].startswith(f"seed {found.seed} (join), ")
    assert any("attempt 2 starts from checkpoint" in line for line in story)


def _first_failure(scenario: str, begins: str = "") -> RecoveryRun | None:
    """Return the first run of a scenario that fails with words that begin so."""
    at = [one.name for one in SCENARIOS].index(scenario)
    runs = map(recover, range(at, _SEEDS, len(SCENARIOS)))
    return next((run for run in runs if run.failure and run.failure.startswith(begins)), None)
