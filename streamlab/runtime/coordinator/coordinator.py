"""The coordinator of one job: a pure state machine. Events in, commands out; the shell around it does the I/O.

States and what leads from one to the next:

==========  ======================================================================================================
state       what happens in it
==========  ======================================================================================================
STARTING    Workers start. When all have and the splits are known, tasks are deployed → RUNNING, or PAUSED or STOPPING
            when that was asked for in the meantime.
RUNNING     Tasks run. All finished and committed → FINISHED. PauseRequested → PAUSED. StopRequested → STOPPING.
PAUSED      Sources are not read, or by hand only (`stepping`). ResumeRequested → RUNNING. StopRequested → STOPPING.
            All finished → FINISHED.
STOPPING    Sources have ended, rows drain. All finished and committed → STOPPED.
RESTARTING  The attempt has failed and its workers are gone. After a delay the next one starts from the newest complete
            checkpoint (from the beginning when there is none) and goes the way of STARTING.
FINISHED    Final, like STOPPED, CANCELLED and FAILED: every later event is ignored.
==========  ======================================================================================================

From any state that is not final: CancelRequested → CANCELLED, and so does EndRequested, with a last checkpoint if that
is complete soon. TaskFailed or WorkerLost → RESTARTING, or FAILED when the
job takes no checkpoints or the restart policy gives up; JobFolderFailed → FAILED. A worker that is silent for longer
than ``heartbeat_timeout_ms`` (a minute while it starts) is inspected, ended and then reported as lost by the shell.

A checkpoint: TriggerCheckpoint to all workers → a TaskSnapshotted of every task that has not ended → StoreCheckpoint →
CheckpointStored → CommitCheckpoint to all workers. When all tasks have ended, a last one is made of what they left, and
the job ends when every worker has committed it. Without checkpoints sinks commit at the end in the same way.

Every event from a worker names its *attempt*; those of another attempt than the present one are ignored.
"""

from __future__ import annotations

from functools import singledispatchmethod

from streamlab.core.failpoints import reach
from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure, JobState, JobStatus
from streamlab.runtime.coordinator.attempt_state import AttemptState, Hold, Takeover, WorkerState, wished_layout
from streamlab.runtime.coordinator.checkpoint_tracker import LAST, CheckpointTracker, TaskKey
from streamlab.runtime.coordinator.heartbeat import Heartbeat
from streamlab.runtime.coordinator.job_failures import folder_failed, held_checkpoint_failed, last_checkpoint_failed
from streamlab.runtime.coordinator.job_figures import counted_figures, job_figures, restored_figures
from streamlab.runtime.coordinator.job_pace import JobPace
from streamlab.runtime.coordinator.job_past import JobPast
from streamlab.runtime.coordinator.known_splits import bytes_in_all, joined_splits, with_found_splits
from streamlab.runtime.coordinator.manual_steps import Stepper
from streamlab.runtime.coordinator.placement import LaidOut
from streamlab.runtime.coordinator.replay_checkpoints import Gathering
from streamlab.runtime.coordinator.restart_policy import GiveUp, RestartPolicy
from streamlab.runtime.coordinator.status_pace import StatusPace
from streamlab.runtime.messages import protocol
from streamlab.runtime.messages.protocol import Command, Event, Layout, Splits
from streamlab.state.checkpoints.manifest import Manifest

LAST_CHECKPOINT_US = 5_000_000
"""How long a job whose client has ended may take for its last checkpoint."""
_REACHED = "replayed"
"""Token of the checkpoint that ends a replay."""
_MAX_TICK_US = 1_000_000
"""A longer tick means that the coordinator itself did not run: workers could not be heard."""


class Coordinator:
    """Decides what happens to one job.

    Parameters
    ----------
    job_id
        The job's id.
    options
        Its options.
    layout
        Its graph.
    submitted_us
        Wall clock when it was submitted.
    fingerprint
        Hash of its plan, for manifests.
    engine
        Version of Polars, for manifests.
    origin
        The checkpoint, of another job or a savepoint, that the job starts from.
    takeover
        What is left of an earlier coordinator of the job.
    in_order
        Whether tasks take their inputs in the order of a job that is replayed.
    """

    def __init__(
        self,
        job_id: str,
        options: JobOptions,
        layout: Layout,
        *,
        submitted_us: int,
        fingerprint: str = "",
        engine: str = "",
        origin: Manifest | None = None,
        takeover: Takeover | None = None,
        in_order: bool = False,
    ) -> None:
        self._handler = self._on  # looked up once, for that takes as long as most events do
        self._id, self._options = job_id, options
        self._submitted_us = submitted_us
        self._origin = origin
        self._plan = LaidOut(layout)
        self._fingerprint, self._engine = fingerprint, engine
        self._checkpointing = options.checkpoint_every_ms is not None
        self._checkpoints = CheckpointTracker(options)
        self._policy = RestartPolicy(options)
        self._splits: Splits | None = None
        self._attempt = AttemptState(0, {})
        self._state = JobState.STARTING
        self._gathering = Gathering(needed=in_order)
        self._storing: Manifest | None = None
        self._hold: Hold | None = None
        self._restart_in_us: int | None = None
        self._ends_in_us: int | None = None
        self._paused = options.paused
        self._stepper = Stepper((submitted_us if origin is None else origin.triggered_us) if options.paused else None)
        self._stopping = False
        self._past = JobPast()
        self._status_pace = StatusPace()
        self._pace = JobPace()
        self._heartbeat = Heartbeat(options.heartbeat_timeout_ms * 1000)
        self._now_us = submitted_us
        if takeover is not None:
            self._take_over(takeover)

    @property
    def state(self) -> JobState:
        """Where the job is in its life."""
        return self._state

    def start(self, now_us: int) -> list[Command]:
        """Begin the first attempt, or the next one after a takeover."""
        self._now_us = now_us
        return self._begin()

    def handle(self, event: Event, now_us: int) -> list[Command]:
        """Take one event and return what is to be done, in order; `now_us` is the wall clock, for the status."""
        self._now_us = now_us
        if self._state.is_final:
            return []
        if isinstance(event, protocol.FromWorker):
            if event.attempt != self._attempt.number or event.worker not in self._attempt.workers:
                return []
            worker = self._attempt.workers[event.worker]
            worker.heard, worker.silent_us = True, 0
        return self._handler(event)

    def status(self) -> JobStatus:
        """Return everything that is shown of the job."""
        wished = wished_layout(self._hold)
        return JobStatus(
            id=self._id,
            name=self._options.name,
            state=self._state,
            parallelism=self._plan.layout.parallelism,
            submitted_us=self._submitted_us,
            checkpoints=self._checkpoints.history,
            wish="stop" if self._stopping else "pause" if self._paused else "run",
            savepoint=self._hold.request if self._hold is not None and wished is None else "",
            requests=self._checkpoints.requests,
            rescale=wished.graph if wished is not None else "",
            clock_us=self._stepper.clock_us,
            step=self._stepper.status,
            reported_us=self._now_us,
            **self._attempt.figures(),
            **self._past.figures(),
            **self._pace.figures(self._plan.layout),
            **job_figures(self._attempt.tasks, self._plan.layout.vertices),
        )

    @property
    def _all_ended(self) -> bool:
        return self._attempt.finished.keys() == self._plan.tasks

    # -- events --------------------------------------------------------------------------------------------------

    @singledispatchmethod
    def _on(self, event: Event) -> list[Command]:
        raise NotImplementedError(type(event).__name__)

    @_on.register
    def _(self, event: protocol.WorkerStarted) -> list[Command]:
        attempt = self._attempt
        attempt.workers[event.worker].started = True
        if event.splits is not None:
            self._splits = joined_splits(event.splits, self._origin)
            self._past.found(event.rows_total if self._origin is None else None, bytes_in_all(self._splits))
        if attempt.deployed or self._splits is None or not all(w.started for w in attempt.workers.values()):
            return []
        attempt.deployed = True
        commands: list[Command] = [*self._pace.before_deploying()]
        if self._paused:
            commands.append(protocol.SetPaused(paused=True, clock_us=self._stepper.clock_us))
        commands.append(protocol.Deploy(self._splits, attempt.restored, attempt.from_origin))
        if self._stopping and self._hold is None:
            commands.append(protocol.StopSources())
        return [
            *commands,
            *self._move(self._active_state()),
            *self._stepped(self._stepper.go_on(self._attempt, self._plan)),
        ]

    @_on.register
    def _(self, event: protocol.WorkerReport) -> list[Command]:
        for task in event.tasks:
            if (task.vertex, task.subtask) not in self._attempt.finished:
                self._attempt.tasks[task.vertex, task.subtask] = task
        self._past.had_row(event.first_row_us)
        return [*self._end_if_reached(), *self._publish_if_due()]

    @_on.register
    def _(self, event: protocol.TaskFinished) -> list[Command]:
        key = event.status.vertex, event.status.subtask
        self._attempt.tasks[key] = event.status
        self._attempt.finished[key] = event.state
        self._past.had_row(event.first_row_us)
        if not self._all_ended:
            # What is known of the store's answer must not be overtaken by what was known before.
            further = [*self._stop_if_unheard(key), *self._stepped(self._stepper.go_on(self._attempt, self._plan))]
            further += self._checkpoint_if_due() if self._gathering.is_under_way else []
            return [*further, *self._publish_if_due(), *self._store_if_whole()]
        if self._checkpointing:
            return self._checkpoint_at_end() if self._checkpoints.in_flight is None else self._store_if_whole()
        return self._commit_last(self._checkpoints.next_id)

    @_on.register
    def _(self, event: protocol.TaskSnapshotted) -> list[Command]:
        reach("coordinator.collect")
        self._checkpoints.take(event.checkpoint_id, event.state)
        return self._store_if_whole()

    @_on.register
    def _(self, event: protocol.SourceHalts) -> list[Command]:
        self._gathering.take(event)
        return self._checkpoint_if_due() if self._gathering.is_under_way else []

    @_on.register
    def _(self, event: protocol.SnapshotFailed) -> list[Command]:
        self._checkpoints.refuse(event.checkpoint_id, event.reason)
        return [*self._publish(), *self._give_up_hold(event.checkpoint_id, event.reason)]

    @_on.register
    def _(self, event: protocol.CheckpointStored) -> list[Command]:
        manifest, self._storing = self._storing, None
        if manifest is None or manifest.id != event.checkpoint_id:
            return []
        reach("coordinator.commit")
        self._checkpoints.complete(manifest, self._now_us)
        commands: list[Command] = [protocol.RetainCheckpoints(self._options.checkpoint_keep)]
        if self._restart_in_us is not None:
            return [*commands, *self._publish(), *self._restart_if_due()]
        if all(task.finished for task in manifest.tasks) or (self._hold is not None and self._hold.id == manifest.id):
            return [*commands, *self._commit_last(manifest.id)]
        commands += [protocol.CommitCheckpoint(manifest.id), *self._publish()]
        # Tasks may have ended after their part of it: what they left since then is in the one at the end.
        return [*commands, *self._checkpoint_at_end()] if self._all_ended else commands

    @_on.register
    def _(self, event: protocol.CheckpointNotStored) -> list[Command]:
        self._storing = None
        self._checkpoints.refuse(event.checkpoint_id, event.reason)
        if self._all_ended and self._restart_in_us is None:
            # Without it the sinks cannot commit: the job cannot end well.
            return self._recover(last_checkpoint_failed(self._id, event.reason), from_outside=True)
        return [*self._publish(), *self._give_up_hold(event.checkpoint_id, event.reason)]

    @_on.register
    def _(self, event: protocol.Committed) -> list[Command]:
        attempt = self._attempt
        attempt.committed[event.worker] = event.checkpoint_id
        if attempt.last_commit is None:
            return []
        if any(attempt.committed.get(worker, -1) < attempt.last_commit for worker in attempt.workers):
            return []
        if wished_layout(self._hold) is not None and not self._all_ended:
            reach("rescale.stop")
            self._state = JobState.RESTARTING
            return [protocol.EndWorkers(attempt.number), *self._begin()]
        if self._hold is not None and self._checkpoints.newest is not None:
            # Nothing was read after it, and what workers last reported may be older.
            self._attempt.tasks = counted_figures(self._checkpoints.newest, self._attempt.tasks)
        ended = JobState.FINISHED if self._all_ended else JobState.CANCELLED
        return self._end(JobState.STOPPED if self._stopping else ended)

    @_on.register
    def _(self, event: protocol.RestoreFailed) -> list[Command]:
        failure = Failure(message=event.reason, kind="CheckpointError")
        if not event.unreachable:
            self._checkpoints.damaged(event.checkpoint_id, event.reason)
        if self._checkpoints.newest is None and not event.unreachable:
            return self._fail(failure)
        return self._recover(failure, from_outside=True)

    @_on.register
    def _(self, event: protocol.TaskFailed) -> list[Command]:
        return self._recover(event.failure)

    @_on.register
    def _(self, event: protocol.WorkerLost) -> list[Command]:
        return self._recover(event.failure, from_outside=event.from_outside)

    @_on.register
    def _(self, event: protocol.JobFolderFailed) -> list[Command]:
        return self._fail(folder_failed(self._id, event.reason))

    @_on.register
    def _(self, event: protocol.StopRequested) -> list[Command]:
        if self._stopping:
            return []
        self._stopping = True
        if event.request != _REACHED:
            self._stepper.abort("the job was told to stop")
        if event.request and self._checkpointing:
            self._hold = Hold(event.request)
            self._checkpoints.request(event.request)
        if not self._attempt.deployed:
            return self._publish()
        stop = self._checkpoint_if_due() if self._hold is not None else [protocol.StopSources()]
        return [*stop, *self._move(JobState.STOPPING)]

    @_on.register
    def _(self, event: protocol.RescaleRequested) -> list[Command]:
        wished = wished_layout(self._hold)
        if event.graph == (wished or self._plan.layout).graph:
            return []  # the answer was lost, and it is asked again
        if not self._checkpointing or self._stopping or self._ends_in_us is not None or wished is not None:
            state = "is stopping" if self._stopping else "is ending" if self._checkpointing else "takes no checkpoints"
            busy = f"is being rescaled to {wished.parallelism}" if wished is not None else state
            return [protocol.Refuse(f"one that {busy}")]
        self._stepper.abort("the job is being rescaled")
        self._hold = Hold(event.request, protocol.Layout(event.parallelism, event.vertices, event.graph, event.steps))
        self._checkpoints.request(event.request)
        # The wish is on record before it is answered.
        return [*self._publish(), *self._checkpoint_if_due()]

    @_on.register
    def _(self, event: protocol.CancelRequested) -> list[Command]:
        return self._end(JobState.CANCELLED)

    @_on.register
    def _(self, event: protocol.EndRequested) -> list[Command]:
        if self._ends_in_us is not None:
            return []  # told by a signal, and then by the client's end
        if not self._checkpointing or not self._attempt.deployed:
            return self._end(JobState.CANCELLED)
        self._ends_in_us = LAST_CHECKPOINT_US
        if self._hold is not None:
            self._hold.rescale = None
        elif not self._stopping:
            self._hold = Hold(LAST)
            self._checkpoints.request(LAST)
        return [*self._move(JobState.STOPPING), *self._checkpoint_if_due()]

    @_on.register
    def _(self, event: protocol.CheckpointRequested) -> list[Command]:
        self._checkpoints.request(event.request)
        # The wish is on record before it is answered: whoever takes over sees to it.
        return [*self._publish(), *self._checkpoint_if_due()]

    @_on.register
    def _(self, event: protocol.PauseRequested | protocol.ResumeRequested) -> list[Command]:
        return self._set_paused(paused=isinstance(event, protocol.PauseRequested))

    @_on.register
    def _(self, event: protocol.PaceRequested) -> list[Command]:
        refusal = f"one that is {self._state}" if self._stopping else ""
        return [*self._pace.take(event, self._plan.layout, refusal=refusal), *self._publish()]

    def _set_paused(self, *, paused: bool) -> list[Command]:
        if self._paused == paused or self._stopping:
            return []
        self._paused = paused
        if not paused:
            self._stepper.resume()
        if not self._attempt.deployed:
            return self._publish()
        released = [protocol.HaltSources(0, None)] if self._gathering.end() else []
        return [*released, protocol.SetPaused(paused=paused), *self._move(self._active_state())]

    @_on.register
    def _(self, event: protocol.StepRequested | protocol.StepTaken) -> list[Command]:
        may = self._paused and not self._stopping and self._hold is None
        refusal = "" if may else f"one that is {self._state}"
        return self._stepped(self._stepper.handle(event, self._attempt, self._plan, self._now_us, refusal))

    def _stepped(self, commands: list[Command]) -> list[Command]:
        if self._stepper.takes_end():
            commands += self._on(protocol.StopRequested(_REACHED))
        return [*commands, *self._publish()] if self._stepper.has_news() else commands

    @_on.register
    def _(self, event: protocol.Tick) -> list[Command]:
        elapsed_us = min(event.elapsed_us, _MAX_TICK_US)
        commands = self._heartbeat.pass_time(elapsed_us, self._attempt.workers)
        if self._ends_in_us is not None:
            self._ends_in_us -= elapsed_us
            if self._ends_in_us <= 0:
                return [*commands, *self._end(JobState.CANCELLED)]
        if self._attempt.deployed and self._restart_in_us is None:
            self._policy.on_running(elapsed_us)
            commands += self._pass_time(elapsed_us)
        elif self._restart_in_us is not None:
            self._restart_in_us = max(0, self._restart_in_us - elapsed_us)
            commands += self._restart_if_due()
        return [*commands, *self._publish_if_due()]

    def _pass_time(self, elapsed_us: int) -> list[Command]:
        """Give up a checkpoint that takes too long, and take one when it is time."""
        taken = self._checkpoints.in_flight
        self._checkpoints.pass_time(elapsed_us)
        if taken is not None and self._checkpoints.in_flight is None:
            return self._give_up_hold(taken, "it took too long")
        return self._checkpoint_if_due()

    def _end_if_reached(self) -> list[Command]:
        """End a replay with a checkpoint once every source has been read as far as it is to be."""
        by_hand = self._stepper.clock_us is not None
        may = self._checkpointing and self._attempt.deployed and not (self._stopping or by_hand)
        if not may or not self._attempt.has_reached(self._plan.sources):
            return []
        return self._on(protocol.StopRequested(_REACHED))

    def _stop_if_unheard(self, ended: tuple[str, int]) -> list[Command]:
        """Stop the sources when the last sink has ended before them: nobody takes their rows any more."""
        is_last = ended in self._plan.sinks and self._attempt.finished.keys() >= self._plan.sinks
        return [protocol.StopSources()] if is_last else []

    # -- attempts ------------------------------------------------------------------------------------------------

    def _take_over(self, takeover: Takeover) -> None:
        self._attempt.number = takeover.attempt
        self._plan = LaidOut(takeover.layout)
        status = takeover.status
        self._checkpoints = CheckpointTracker.taking_over(self._options, takeover.manifests, status)
        if status is None:
            return
        self._past = JobPast.of(status)
        self._paused, self._stopping = status.wish == "pause", status.wish == "stop"
        self._stepper, self._pace = Stepper(status.clock_us, status.step), JobPace(status)
        if status.savepoint:
            self._hold = Hold(status.savepoint)
        if takeover.rescale is not None:
            self._hold = Hold("", takeover.rescale)
        if takeover.attempt:
            self._past.restarts += 1
            self._state = JobState.RESTARTING

    def _begin(self) -> list[Command]:
        wished = wished_layout(self._hold)
        if wished is not None:
            # Every attempt starts from a checkpoint: whatever has made this one necessary, it serves.
            self._plan = LaidOut(wished)
            self._hold = None
        newest = self._checkpoints.newest
        restored = 0 if newest is None else newest.id
        workers = {index: WorkerState() for index in range(self._plan.workers)}
        self._restart_in_us = None
        self._gathering.begin_attempt()
        from_origin = not restored and self._origin is not None
        self._attempt = AttemptState(self._attempt.number + 1, workers, restored, from_origin)
        if newest is not None:
            self._checkpoints.restore(newest.id)
            self._splits = newest.splits
            self._attempt.tasks = restored_figures(newest, self._plan.vertices)
        if self._hold is not None:
            self._checkpoints.request(self._hold.request)
        start = protocol.StartWorkers(
            self._attempt.number,
            self._plan.workers,
            self._plan.layout,
            restored,
            from_origin,
            lists_splits=self._splits is None,
            known_sources=tuple(self._origin.splits) if self._origin is not None else (),
        )
        return [start, *self._publish()]

    def _recover(self, failure: Failure, *, from_outside: bool = False) -> list[Command]:
        """End the attempt; another one follows when the policy allows it."""
        if self._ends_in_us is not None:
            return self._end(JobState.CANCELLED)
        decision = self._policy.on_failure(failure, from_outside=from_outside)
        if isinstance(decision, GiveUp):
            return self._fail(decision.failure)
        self._past.last_failure = failure
        self._stepper.abort(f"the job had to start again: {failure.message}")
        self._past.restarts += 1
        self._restart_in_us = decision.delay_us
        if not self._checkpoints.is_storing:
            self._checkpoints.abort("its attempt failed", asked_again=self._hold.request if self._hold else "")
        number = self._attempt.number
        self._attempt.workers, self._attempt.finished, self._attempt.deployed = {}, {}, False
        return [protocol.EndWorkers(number), *self._move(JobState.RESTARTING), *self._restart_if_due()]

    def _restart_if_due(self) -> list[Command]:
        """Begin the next attempt, unless it is too early, or still open whether the newest checkpoint counts."""
        if self._restart_in_us != 0 or self._checkpoints.is_storing:
            return []
        return self._begin()

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _checkpoint_if_due(self) -> list[Command]:
        """Take a checkpoint, unless all sources have ended: the one at the end is near then."""
        attempt = self._attempt
        if not self._checkpoints.is_due or not attempt.deployed or attempt.finished.keys() >= self._plan.sources:
            return []
        if self._restart_in_us is not None or attempt.last_commit is not None:
            return []
        left = self._plan.sources - attempt.finished.keys()
        by_hand = self._stepper.clock_us is not None
        waits = None if self._hold is not None or by_hand else self._gather(left)
        if waits is not None:
            return waits
        self._gathering.end()
        checkpoint_id = self._checkpoints.trigger(self._now_us, attempt.number)
        if self._hold is not None and self._checkpoints.request_in_flight == self._hold.request:
            self._hold.id = checkpoint_id
            return [protocol.TriggerCheckpoint(checkpoint_id, then_hold=True)]
        return [protocol.TriggerCheckpoint(checkpoint_id)]

    def _gather(self, sources: set[TaskKey]) -> list[Command] | None:
        """Return what a replay does before it takes a checkpoint, None when it may take it now."""
        if self._paused and self._gathering.needed:
            # Sources stand still wherever they are; what was asked for is taken there.
            return None if self._checkpoints.is_wanted else []
        return self._gathering.go_on(sources)

    def _store_if_whole(self) -> list[Command]:
        checkpoint_id = self._checkpoints.in_flight
        tasks = self._checkpoints.parts(self._plan.tasks, self._attempt.finished)
        if checkpoint_id is None or tasks is None:
            return []
        splits, tasks = with_found_splits(self._splits or {}, tasks)
        self._storing = Manifest(
            polars=self._engine,
            job=self._id,
            id=checkpoint_id,
            attempt=self._attempt.number,
            fingerprint=self._fingerprint,
            parallelism={name: vertex.parallelism for name, vertex in self._plan.vertices.items()},
            splits=splits,
            steps=self._plan.layout.steps,
            tasks=tasks,
            triggered_us=self._checkpoints.triggered_us(),
            completed_us=self._now_us,
        )
        return [protocol.StoreCheckpoint(self._storing)]

    def _checkpoint_at_end(self) -> list[Command]:
        """Take a checkpoint of what all tasks have left at their ends."""
        self._checkpoints.trigger(self._now_us, self._attempt.number, at_end=True)
        return self._store_if_whole()

    def _give_up_hold(self, checkpoint_id: int, reason: str) -> list[Command]:
        """Go on from the last checkpoint when the one that sources held for has failed: they read nothing any more."""
        if self._hold is None or self._hold.id != checkpoint_id:
            return []
        if self._hold.rescale is None:
            self._stopping = False
        self._hold = None
        if self._restart_in_us is not None:
            return []
        return self._recover(held_checkpoint_failed(self._id, reason), from_outside=True)

    def _commit_last(self, checkpoint_id: int) -> list[Command]:
        """Have the sinks commit what the ended tasks left; when they have, the job has ended."""
        self._attempt.last_commit = checkpoint_id
        return [protocol.CommitCheckpoint(checkpoint_id)]

    # -- what follows from them ----------------------------------------------------------------------------------

    def _active_state(self) -> JobState:
        if self._stopping:
            return JobState.STOPPING
        return JobState.PAUSED if self._paused else JobState.RUNNING

    def _move(self, state: JobState) -> list[Command]:
        self._state = state
        return self._publish()

    def _fail(self, failure: Failure) -> list[Command]:
        self._past.failure = failure
        return self._end(JobState.FAILED)

    def _end(self, state: JobState) -> list[Command]:
        self._state = state
        self._stepper.end(state, self._past.failure, self._attempt)
        self._past.ended_us = self._now_us
        return [protocol.Dismiss(), protocol.Finish(self.status())]

    def _publish(self) -> list[Command]:
        return self._status_pace.publish(self.status())

    def _publish_if_due(self) -> list[Command]:
        return self._status_pace.publish_if_due(self._now_us, self.status)
