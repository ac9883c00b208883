"""Which checkpoint of a job is being taken, what it still lacks, and which ones there are. Pure.

A checkpoint is *complete* once every task has either sent its part or come to its end, and the manifest is durable.
Only one is taken at a time. One that takes too long, or that a task cannot store, is given up and the job goes on: what
sinks had prepared for it is committed with the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from streamlab.core.options import JobOptions
from streamlab.observe.status import CheckpointStatus, JobStatus
from streamlab.state.checkpoints.manifest import Manifest, TaskState

TaskKey = tuple[str, int]
"""Id of the vertex, number of the subtask."""
LAST = "last"
"""Token of the request for the checkpoint that a job takes because its client has ended."""
_HISTORY = 100


@dataclass
class _InFlight:
    status: CheckpointStatus
    elapsed_us: int = 0
    parts: dict[TaskKey, TaskState] = field(default_factory=dict)
    storing: bool = False


class CheckpointTracker:
    """The checkpoints of one job.

    Parameters
    ----------
    options
        Of the job.
    complete
        Manifests of those that there are already, oldest first.
    history
        What an earlier coordinator knew of them, and of others.
    asked_again
        Token of a request that will be answered by another one.
    requests
        Tokens of those that an earlier coordinator had not answered.
    """

    def __init__(
        self,
        options: JobOptions,
        complete: Sequence[Manifest] = (),
        history: Sequence[CheckpointStatus] = (),
        *,
        asked_again: str = "",
        requests: Collection[str] = (),
    ) -> None:
        self._options = options
        self._complete = list(complete)
        whole = {manifest.id for manifest in complete}
        answered = {status.request for status in history if status.id in whole}
        waiting = [token for token in requests if token not in answered]
        self._history = {status.id: _left_behind(status, {asked_again, *waiting}) for status in history}
        for manifest in complete:
            self._history[manifest.id] = _status_of(manifest, self._history.get(manifest.id))
        self._next_id = max(self._history, default=0) + 1
        self._in_flight: _InFlight | None = None
        self._since_us = 0
        self._wanted = waiting

    @classmethod
    def taking_over(
        cls, options: JobOptions, complete: Sequence[Manifest], status: JobStatus | None
    ) -> CheckpointTracker:
        """Return what goes on from the last status of an earlier coordinator; None when there is none."""
        if status is None:
            return cls(options, complete)
        known, asked_again = status.checkpoints, status.savepoint
        return cls(options, complete, known, asked_again=asked_again, requests=status.requests)

    @property
    def requests(self) -> tuple[str, ...]:
        """Tokens of the requests that are not answered yet."""
        return tuple(filter(None, (self.request_in_flight, *self._wanted)))

    @property
    def next_id(self) -> int:
        """Id of the next checkpoint."""
        return self._next_id

    @property
    def newest(self) -> Manifest | None:
        """The newest complete checkpoint."""
        return self._complete[-1] if self._complete else None

    @property
    def is_storing(self) -> bool:
        """Whether a manifest is being made durable right now: whether it counts will be known soon."""
        return self._in_flight is not None and self._in_flight.storing

    @property
    def in_flight(self) -> int | None:
        """Id of the checkpoint that is being taken."""
        return None if self._in_flight is None else self._in_flight.status.id

    @property
    def history(self) -> tuple[CheckpointStatus, ...]:
        """What is known of the newest checkpoints, oldest first."""
        return tuple(self._history[key] for key in sorted(self._history))

    def request(self, token: str) -> None:
        """Remember that somebody wants a checkpoint as soon as it can be taken."""
        if token not in self._wanted and token != self.request_in_flight:
            self._wanted.append(token)

    @property
    def request_in_flight(self) -> str:
        """Token of the request that the checkpoint being taken answers."""
        return "" if self._in_flight is None else self._in_flight.status.request

    def pass_time(self, elapsed_us: int) -> None:
        """Count the time since the last checkpoint and that of the one being taken; give up one that takes too long."""
        self._since_us += elapsed_us
        if self._in_flight is None:
            return
        self._in_flight.elapsed_us += elapsed_us
        if self._in_flight.elapsed_us >= self._options.checkpoint_timeout_ms * 1000 and not self.is_storing:
            limit_s = self._options.checkpoint_timeout_ms / 1000
            self._give_up("abandoned", f"not complete within {limit_s:g} s (checkpoint_timeout_ms)")

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint should be taken now."""
        every_ms = self._options.checkpoint_every_ms
        if every_ms is None or self._in_flight is not None:
            return False
        return bool(self._wanted) or self._since_us >= every_ms * 1000

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has asked for one, and waits for it."""
        return bool(self._wanted)

    def trigger(self, now_us: int, attempt: int, *, at_end: bool = False) -> int:
        """Begin a checkpoint and return its id."""
        token = self._wanted.pop(0) if self._wanted else ""
        status = CheckpointStatus(
            id=self._next_id,
            trigger="end" if at_end or token == LAST else ("request" if token else "interval"),
            request=token,
            attempt=attempt,
            triggered_us=now_us,
        )
        self._next_id += 1
        self._in_flight = _InFlight(status)
        self._note(status)
        return status.id

    def take(self, checkpoint_id: int, part: TaskState) -> None:
        """Take a task's part; of a checkpoint that was given up it is ignored."""
        if self._in_flight is not None and self._in_flight.status.id == checkpoint_id:
            self._in_flight.parts[part.vertex, part.subtask] = part

    def refuse(self, checkpoint_id: int, reason: str) -> None:
        """Give up the checkpoint, because a task or the manifest could not be stored."""
        if self._in_flight is not None and self._in_flight.status.id == checkpoint_id:
            self._give_up("failed", reason)

    def abort(self, reason: str, *, asked_again: str = "") -> None:
        """Give up the checkpoint that is being taken, if there is one, because its attempt has failed.

        It is no answer to the request `asked_again`: another one will be.
        """
        if self._in_flight is None:
            return
        if asked_again and self.request_in_flight == asked_again:
            self._change(self._in_flight.status.id, request="")
        self._give_up("failed", reason)

    def parts(self, tasks: Collection[TaskKey], ended: Mapping[TaskKey, TaskState]) -> tuple[TaskState, ...] | None:
        """Return the parts of the checkpoint being taken once none is missing; from then on it is being stored.

        A task that ended before the barrier reached it stands for itself: everything that it gave was received before
        the barrier, since its end took the barrier's place.
        """
        if self._in_flight is None or self._in_flight.storing:
            return None
        known = {**ended, **self._in_flight.parts}
        if any(task not in known for task in tasks):
            return None
        self._in_flight.storing = True
        return tuple(known[task] for task in sorted(tasks))

    def triggered_us(self) -> int:
        """Return when the checkpoint that is being taken was triggered."""
        return 0 if self._in_flight is None else self._in_flight.status.triggered_us

    def complete(self, manifest: Manifest, now_us: int) -> None:
        """Note that a manifest is durable."""
        self._complete.append(manifest)
        shown = _status_of(manifest, self._history.get(manifest.id))
        if self._in_flight is not None and self._in_flight.status.id == manifest.id:
            duration_ms = max(now_us - self._in_flight.status.triggered_us, 0) / 1000
            shown = msgspec.structs.replace(shown, duration_ms=duration_ms)
            self._in_flight = None
        self._note(shown)
        self._since_us = 0
        for old in self._complete[: -self._options.checkpoint_keep]:
            self._change(old.id, state="deleted")
        del self._complete[: -self._options.checkpoint_keep]

    def restore(self, checkpoint_id: int) -> None:
        """Note that an attempt starts from a checkpoint."""
        self._since_us = 0
        known = self._history.get(checkpoint_id)
        if known is not None:
            self._change(checkpoint_id, restored=known.restored + 1)

    def damaged(self, checkpoint_id: int, reason: str) -> None:
        """Leave out a checkpoint from now on, because it cannot be read."""
        self._complete = [manifest for manifest in self._complete if manifest.id != checkpoint_id]
        self._change(checkpoint_id, state="damaged", reason=reason)

    def _give_up(self, state: str, reason: str) -> None:
        if self._in_flight is not None:
            self._change(
                self._in_flight.status.id, state=state, reason=reason, duration_ms=self._in_flight.elapsed_us / 1000
            )
        self._in_flight = None
        self._since_us = 0

    def _change(self, checkpoint_id: int, **fields: object) -> None:
        """Note what has become of a checkpoint, unless so many have failed since that it is no longer known."""
        if checkpoint_id in self._history:
            self._note(msgspec.structs.replace(self._history[checkpoint_id], **fields))

    def _note(self, status: CheckpointStatus) -> None:
        self._history[status.id] = status
        while len(self._history) > _HISTORY:
            del self._history[min(self._history)]


def _left_behind(status: CheckpointStatus, asked_again: Collection[str]) -> CheckpointStatus:
    """Return what is known of a checkpoint of an earlier coordinator, if it has no readable manifest."""
    if status.request in asked_again:
        status = msgspec.structs.replace(status, request="")
    if status.state == "running":
        return msgspec.structs.replace(status, state="failed", reason="the job's coordinator ended")
    if status.state == "complete":
        return msgspec.structs.replace(status, state="damaged", reason="it could not be read")
    return status


def _status_of(manifest: Manifest, known: CheckpointStatus | None) -> CheckpointStatus:
    """Return what is known of a complete checkpoint: what its manifest says, and why it was taken."""
    return CheckpointStatus(
        id=manifest.id,
        kind=manifest.kind,
        trigger="interval" if known is None else known.trigger,
        request="" if known is None else known.request,
        restored=0 if known is None else known.restored,
        state="complete",
        attempt=manifest.attempt,
        triggered_us=manifest.triggered_us,
        duration_ms=(manifest.completed_us - manifest.triggered_us) / 1000,
        alignment_ms=max((task.alignment_us for task in manifest.tasks), default=0) / 1000,
        size_bytes=manifest.size_bytes,
        new_bytes=sum(task.new_bytes for task in manifest.tasks),
    )
