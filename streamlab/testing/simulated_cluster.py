"""A job with its coordinator, its workers and its store in one thread: the scheduler picks what happens next.

What may happen: a message arrives at a worker, a task does its next piece of work, an event reaches the coordinator, a
command reaches a worker, a part of a checkpoint is stored, a manifest is stored, time passes, or a fault. Whether
processes of attempts that are over are still heard of is up to the faults.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import polars as pl

from streamlab.core.errors import CheckpointError, StateError, StepFailed
from streamlab.core.messages import DEAD_LETTERS, LATE_ROWS, MAIN
from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure, JobStatus
from streamlab.runtime.client.client import layout_of
from streamlab.runtime.coordinator.attempt_state import Takeover
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.coordinator.placement import worker_count, worker_of
from streamlab.runtime.job_folder.attempts import Attempt
from streamlab.runtime.job_folder.folder import Replayed
from streamlab.runtime.messages import protocol
from streamlab.runtime.network.transport import Inbox
from streamlab.runtime.task.exchange import Channel, input_channels
from streamlab.runtime.worker.task_runner import TaskRunner
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.testing.faulty_blobs import Crash, FaultyBlobs
from streamlab.testing.ledger import Ledger, joined
from streamlab.testing.scenarios import Outcome, Scenario
from streamlab.testing.simulated_worker import Shell, SimulatedWorker, Wire
from streamlab.testing.sources import Shelf

_ENGINE = pl.__version__
_TICKS_US = (200, 1_000, 4_000)
_START_US = 1_700_000_000_000_000
_SETTLES_EVERY = 40
"""Steps after which it is looked whether a job that does not end has read everything."""
Action = Callable[[], None]


class Cluster:
    """See the module.

    Parameters
    ----------
    scenario
        What is run.
    seed
        Decides the schedule.
    origin
        A checkpoint of another job to go on from, and where it is.
    folder
        Where tasks keep notes for replays; nowhere when empty.
    replayed
        The job that this one replays from there.
    credit
        Of every channel; None: the seed decides.
    shelf
        What has appeared until now of the splits that a query follows.
    before
        The job that this one goes on from.
    **fixed
        Options of the job that the seed does not decide.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        origin: tuple[Blobs, Manifest] | None = None,
        folder: str = "",
        replayed: Replayed | None = None,
        credit: int | None = None,
        shelf: Shelf | None = None,
        before: Cluster | None = None,
        **fixed: Any,
    ) -> None:
        self.scenario = scenario
        self.random = Random(seed)  # noqa: S311 - reproducible, not secret
        self.blobs = FaultyBlobs()
        self.manifests = ManifestStore(self.blobs)
        self.ledger = Ledger(shelf=scenario.new_shelf() if shelf is None else shelf)
        self.steps = 0
        self.story: list[str] = []
        self.now_us = _START_US
        self.workers: list[SimulatedWorker] = []
        self.attempts: list[Attempt] = []
        self.final: JobStatus | None = None
        self.is_settled = False
        """Whether a job that does not end has read, shown and committed all that there is."""
        self.before = before
        self.refusal = ""
        """Why the last request was refused."""
        self.client_ended = False
        self.wishes: list[tuple[str, str, int]] = []
        """Token, graph and number of the attempt of each rescale that was accepted."""
        self._digest = hashlib.blake2b(digest_size=16)
        self.status: JobStatus | None = None
        self._wires: dict[Channel, Wire] = {}
        self._gone: list[SimulatedWorker] = []
        self._storing: Manifest | None = None
        self._noted_splits: dict[int, set[str]] = {}
        """By checkpoint the splits that it knows, so that they need not be listed again."""
        self._parallelism = self.random.choice((1, 2, 2, 3))
        chosen = self.random.choice((1, 2, 8))
        self.credit = chosen if credit is None else credit
        self._options = JobOptions(
            "simulation",
            self._parallelism,
            batch_rows=self.random.choice((2, 3, 7)),
            batch_ms=0,
            checkpoint_every_ms=self.random.choice((2, 5, 15)),
            checkpoint_timeout_ms=self.random.choice((8, 25, 10_000)),
            checkpoint_keep=self.random.choice((1, 2, 3)),
            heartbeat_timeout_ms=1_000_000_000,
            max_restarts=1_000,
            restart_delay_ms=1,
            max_restart_delay_ms=10,
        )
        self._options = replace(self._options, **fixed)
        self._parallelism = self._options.parallelism
        self._origin, self._replayed = origin, replayed
        self._shell = Shell(self.blobs, self.ledger, self._options, origin, folder, replayed)
        self._graphs = {f"graph-{n}": scenario.graph(n, self.ledger) for n in (1, 2, 3)}
        self._coordinator = self._new_coordinator(None)

    # -- one run ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the job."""
        self._carry_out(self._coordinator.start(self.now_us))

    def step(self) -> None:
        """Let one thing happen."""
        self.steps += 1
        if self.steps > self.scenario.most_steps:
            self.ledger.complaints.append(f"the job has not ended after {self.scenario.most_steps} steps")
            return
        actions = self._actions()
        actions[self.random.randrange(len(actions))]()
        if self.steps % _SETTLES_EVERY == 0 and not self.ledger.shelf.may_change(self.scenario.appearing):
            self.is_settled = self.scenario.has_settled(self)

    @property
    def goes_on(self) -> bool:
        """Whether things may still happen: the job has not ended, an endless one not read everything, all is well."""
        return self.final is None and not self.is_settled and not self.ledger.complaints

    def run(self) -> None:
        """Let things happen as long as it goes on."""
        while self.goes_on:
            self.step()

    def close(self) -> None:
        """Let go of what the workers have open."""
        for worker in (*self.workers, *self._gone):
            worker.die()

    def outcome(self) -> tuple[Outcome, Outcome]:
        """Return what was shown, and what was committed, here and by a job that this one goes on from."""
        schema = self.scenario.frame().plan.schema
        ledgers = [(one.ledger, one.attempts) for one in (self.before, self) if one is not None]

        def shown(tag: str) -> list[pl.DataFrame]:
            return [frame for ledger, attempts in ledgers for frame in ledger.shown(tag, attempts)]

        late = joined(shown(LATE_ROWS), schema.to_frame().clear(0).select([]).schema)
        letters = sum(frame.height for frame in shown(DEAD_LETTERS))
        committed = [frame for ledger, _ in ledgers for frame in ledger.committed()]
        shelf = self.ledger.shelf
        parts = (joined(shown(MAIN), schema), joined(committed, schema))
        first, last = (Outcome(rows, late, letters, shelf) for rows in parts)
        return first, last

    def note(self, text: str, *, told: bool = True) -> None:
        """Put what happens into the trace, and into the story if it is worth telling."""
        self._digest.update(f"{self.steps} {text}\n".encode())
        if told:
            self.story.append(f"step {self.steps}: {text}")

    @property
    def trace_hash(self) -> str:
        """Digest of everything that happened, in order."""
        return self._digest.hexdigest()

    # -- what can happen -------------------------------------------------------------------------------------------

    def _actions(self) -> list[Action]:
        actions: list[Action] = [self._tick]
        actions += [partial(self._arrive, wire) for wire in self._wires.values() if wire.waiting]
        for worker in self.workers:
            if worker.alive:
                actions += [partial(self._run, worker, runner) for runner in worker.runnable]
                if worker.commands:
                    actions.append(partial(self._obey, worker))
                if worker.steps.jobs:
                    actions.append(partial(self._store_part, worker))
            if worker.events:
                actions.append(partial(self._hear, worker))
        for worker in self._gone:
            if worker.events:
                actions.append(partial(self._hear, worker))
            if worker.commands:
                actions.append(partial(self._obey_too_late, worker))
        if self._storing is not None:
            actions.append(self._store_manifest)
        if self.ledger.shelf.may_change(self.scenario.appearing):
            actions.append(self._change_shelf)
        return actions

    def _tick(self) -> None:
        elapsed_us = self.random.choice(_TICKS_US)
        self.now_us += elapsed_us
        self.note("tick", told=False)
        self.take(protocol.Tick(elapsed_us))

    def _change_shelf(self) -> None:
        """Let something happen to what is read, in the world outside."""
        known = set.intersection(*self._noted_splits.values()) if self._noted_splits else set()
        self.note(self.ledger.shelf.change(self.random, self.scenario.appearing, known))

    def _arrive(self, wire: Wire) -> None:
        self.note(f"{wire.channel}: {type(wire.waiting[0]).__name__}", told=False)
        wire.deliver()

    def _run(self, worker: SimulatedWorker, runner: TaskRunner) -> None:
        worked = worker.run(runner, self.now_us)
        task = runner.task
        counters = (task.counters.rows_in, task.counters.rows_out, task.counters.watermark_us)
        self.note(f"{task.vertex.id}[{task.subtask}] {worked} {counters}", told=False)

    def _obey(self, worker: SimulatedWorker) -> None:
        command = worker.obey(self._wires, self.now_us)
        if not isinstance(command, protocol.Ping):
            self.note(f"worker {worker.index} obeys {_shown(command)}")

    def _obey_too_late(self, worker: SimulatedWorker) -> None:
        command = worker.commands.popleft()
        if isinstance(command, protocol.CommitCheckpoint):
            self.note(f"worker {worker.index} of attempt {worker.attempt}, which is over, obeys {_shown(command)}")
            for runner in worker.runners:
                with suppress(StepFailed):
                    runner.task.commit(command.checkpoint_id)

    def _store_part(self, worker: SimulatedWorker) -> None:
        before = len(worker.events)
        try:
            worker.steps.jobs.popleft()()
        except Crash as crash:
            self.note(f"worker {worker.index} dies while it writes {_readable(str(crash))}")
            self.kill(worker, told=False)
            return
        for event in list(worker.events)[before:]:
            self.note(f"worker {worker.index} has stored: {_shown(event)}", told=False)

    def _store_manifest(self) -> None:
        manifest, self._storing = self._storing, None
        if manifest is None:
            return
        try:
            self.manifests.put(manifest)
        except StateError as error:
            self.note(f"the manifest of checkpoint {manifest.id} cannot be stored")
            self.take(protocol.CheckpointNotStored(manifest.id, str(error)))
        except Crash:
            self.note(f"the coordinator dies while it writes the manifest of checkpoint {manifest.id}")
            self.replace_coordinator()
        else:
            self._stored(manifest)
            self.take(protocol.CheckpointStored(manifest.id))

    def _stored(self, manifest: Manifest) -> None:
        self.note(f"the manifest of checkpoint {manifest.id} is durable")
        pending = (one for task in manifest.tasks for transaction in task.pending for one in transaction)
        self.ledger.complete |= {name for kind, name in pending if kind == "rows"}
        known = {split.id for parts in manifest.splits.values() for split in parts}
        known |= {name for task in manifest.tasks if task.source is not None for name in task.source.splits}
        self._noted_splits[manifest.id] = known

    def _hear(self, worker: SimulatedWorker) -> None:
        event = worker.events.popleft()
        self.note(f"the coordinator hears of worker {worker.index}: {_shown(event)}")
        if (
            isinstance(event, protocol.RestoreFailed)
            and not event.unreachable
            and event.attempt == self.attempts[-1].number
        ):
            self._expect_damage(event.reason)
        self.take(event)

    def take(self, event: protocol.Event) -> None:
        """Give the coordinator an event."""
        try:
            self._carry_out(self._coordinator.handle(event, self.now_us))
        except Crash:
            self.note("the coordinator dies while it writes")
            self.replace_coordinator()

    # -- what the coordinator wants --------------------------------------------------------------------------------

    def _carry_out(self, commands: Sequence[protocol.Command]) -> None:
        for command in commands:
            match command:
                case protocol.StartWorkers():
                    self._start_workers(command)
                case protocol.EndWorkers():
                    self._end_workers()
                case protocol.StoreCheckpoint(manifest):
                    self._storing = manifest
                case protocol.RetainCheckpoints(keep):
                    self._retain(keep)
                case protocol.Publish(status):
                    self.status = status
                case protocol.Finish(status):
                    self.final = status
                case protocol.Refuse(reason):
                    self.refusal = reason
                case protocol.InspectWorker():
                    self.ledger.complaints.append("a worker is inspected though it is never silent for long")
                case _:
                    for worker in self.workers:
                        worker.commands.append(command)

    def _start_workers(self, command: protocol.StartWorkers) -> None:
        self.note(f"attempt {command.attempt} starts from checkpoint {command.restored} with {command.count} workers")
        if not (command.restored or command.from_origin):
            self.ledger.shelf.forget()
        known = [attempt for attempt in self.attempts if attempt.number < command.attempt]
        self.attempts = [*known, Attempt(command.attempt, command.restored, command.layout)]
        graph = self.scenario.of_process(self._graphs[command.layout.graph])
        workers = worker_count(vertex.parallelism for vertex in graph.vertices)
        self._wires = {}
        for vertex in graph.vertices:
            for subtask in range(vertex.parallelism):
                for channel in input_channels(graph, vertex.id, subtask):
                    inbox = Inbox(channel, self.credit)
                    is_local = worker_of(channel.source_subtask, workers) == worker_of(subtask, workers)
                    wire = Wire(channel, self.credit, inbox, is_local, self.ledger.complaints.append)
                    inbox.returns_credit_to(wire.grant)
                    self._wires[channel] = wire
        self.workers = [
            SimulatedWorker(
                protocol.Hello(
                    "", index, command.attempt, b"", command.layout.graph, command.lists_splits, command.known_sources
                ),
                graph,
                self._shell,
            )
            for index in range(command.count)
        ]

    def _end_workers(self) -> None:
        for worker in self.workers:
            worker.die()
        self._gone, self.workers, self._wires = self.workers, [], {}

    def _retain(self, keep: int) -> None:
        try:
            if self.manifests.retain(keep):
                self.manifests.collect_garbage()
            self._noted_splits = dict(sorted(self._noted_splits.items())[-keep:])
        except StateError:
            self.note("checkpoints that are no longer needed cannot be deleted now")

    # -- what faults do --------------------------------------------------------------------------------------------

    def kill(self, worker: SimulatedWorker, *, told: bool = True, early: bool = False) -> None:
        """End a worker; the coordinator hears of it after, or before (`early`), what the worker said last."""
        if not worker.alive:
            return
        if told:
            self.note(f"worker {worker.index} is killed")
        worker.die()
        worker.steps.jobs = deque()
        lost = protocol.WorkerLost(worker.index, worker.attempt, Failure(message="killed"), from_outside=True)
        if early:
            worker.events.appendleft(lost)
        else:
            worker.events.append(lost)

    def replace_coordinator(self, *, power_fails: bool = False) -> None:
        """Let another coordinator take over, from what the last one has left."""
        if power_fails:
            self.blobs.lose_unsynced()
            if self.attempts:
                self.ledger.lose_unsynced(self.attempts[-1].number)
        self._end_workers()
        manifest, self._storing = self._storing, None
        if manifest is not None and self.random.random() < 0.5:  # noqa: PLR2004 - as often the one as the other
            with suppress(CheckpointError, Crash):
                self.manifests.put(manifest)
                self._stored(manifest)
        self._coordinator = self._new_coordinator(self._takeover() if self.attempts else None)
        self._carry_out(self._coordinator.start(self.now_us))

    def _takeover(self) -> Takeover:
        """Return what a coordinator finds; one that cannot make sure of it dies, and the next one tries."""
        found = list(self.manifests.newest_first())
        for _, one in found:
            if isinstance(one, CheckpointError):
                self._expect_damage(str(one))
        whole = [one for _, one in found if isinstance(one, Manifest)]
        last = self.attempts[-1]
        try:
            if whole:
                self.manifests.make_durable(whole[0])
                self._stored(whole[0])
        except (CheckpointError, Crash):
            self.note("the coordinator dies while it takes over")
            return self._takeover()
        wished = self.status.rescale if self.status is not None else ""
        rescale = self._layout(wished) if wished else None
        return Takeover(last.number, last.layout, tuple(reversed(whole)), self.status, rescale)

    def rescale(self, parallelism: int, token: str) -> None:
        """Ask for another parallelism."""
        layout = self._layout(f"graph-{parallelism}")
        attempt, self.refusal = self.attempts[-1].number if self.attempts else 0, ""
        # Of one graph the coordinator takes a second request for the first one, asked again.
        is_known = self.status is not None and self.status.rescale == layout.graph
        self.take(protocol.RescaleRequested(parallelism, layout.vertices, layout.graph, token, layout.steps))
        if not self.refusal and not is_known and self.final is None:
            self.wishes.append((token, layout.graph, attempt))

    def end_client(self) -> None:
        """Let the process end that the job was started by."""
        self.client_ended = True
        self.take(protocol.EndRequested("a fault"))

    def _layout(self, name: str) -> protocol.Layout:
        return layout_of(self._graphs[name], int(name.removeprefix("graph-")), name)

    def _new_coordinator(self, takeover: Takeover | None) -> Coordinator:
        layout = self._layout(f"graph-{self._parallelism}")
        return Coordinator(
            "simulation",
            self._options,
            layout,
            submitted_us=_START_US,
            engine=_ENGINE,
            origin=None if self._origin is None else self._origin[1],
            takeover=takeover,
            in_order=self._replayed is not None and self._replayed.in_order,
        )

    def _expect_damage(self, reason: str) -> None:
        if not self.blobs.damaged:
            self.ledger.complaints.append(f"a checkpoint cannot be used, though nothing was damaged: {reason}")


def _shown(message: object) -> str:
    """Return what tells a message from others, without figures that depend on the machine's clock."""
    name = type(message).__name__
    match message:
        case protocol.TaskSnapshotted(checkpoint_id=number, state=part):
            return f"{name}({part.vertex}[{part.subtask}], checkpoint {number})"
        case protocol.TaskFinished(state=part):
            return f"{name}({part.vertex}[{part.subtask}])"
        case protocol.TaskFailed(failure=failure):
            return f"{name}({failure.message.splitlines()[0]})"
        case protocol.Deploy(restored=number):
            return f"{name}(from checkpoint {number})"
        case (
            protocol.TriggerCheckpoint(checkpoint_id=number)
            | protocol.CommitCheckpoint(checkpoint_id=number)
            | protocol.Committed(checkpoint_id=number)
            | protocol.SnapshotFailed(checkpoint_id=number)
            | protocol.RestoreFailed(checkpoint_id=number)
        ):
            return f"{name}({number})"
    return name


def _readable(name: str) -> str:
    """Return a file's folder: names in it are hashes of what may be ordered in another way each time."""
    return name.split("/", maxsplit=1)[0]
