"""Steps by hand: what a paused job does next, one *wave* after the other. Pure.

A wave is one command to all workers: do one thing (a source reads a batch, an end, a watermark that is raised, or
nothing), then send a barrier from every source. It is over when every task has said that the barrier has gone through
it, or has ended: then everything that follows from the one thing is done and shown, and nothing is under way. Only then
is the next one chosen, from what the tasks have said and nothing else.

So a step is a function of the job's state: which source reads next is decided by the positions of their splits, the
clock is an argument and stands in between, and no two sources ever read at once. A step

- begins with a wave that does nothing, for what was under way before;
- has sources of which nothing is left end as soon as they do not hold others back, without counting that;
- ends all sources, and with them the job, when nothing is left anywhere: that is a step of its own;
- lets the clock go on to when there will be rows, if none are there now and the sources say when.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from streamlab.core.event_time.instants import MAX_TIME_US, MIN_TIME_US, show_us
from streamlab.observe.status import Failure, JobState, SplitRead, StepStatus
from streamlab.runtime.coordinator.attempt_state import AttemptState
from streamlab.runtime.coordinator.placement import LaidOut, TaskKey
from streamlab.runtime.messages.protocol import Command, Refuse, SourceView, Step, StepRequested, StepTaken


@dataclass
class _Running:
    """A step that is under way, and what its waves have brought so far."""

    request: StepRequested
    before: tuple[int, int] = (0, 0)
    """Late rows and dead letters before it."""
    waves: int = 0
    waiting: set[TaskKey] = field(default_factory=set)
    """Tasks that have not said yet that the wave has gone through them."""
    sources: dict[TaskKey, SourceView] = field(default_factory=dict)
    made: dict[TaskKey, int] = field(default_factory=dict)
    """Watermarks that are made, by the tasks that make them."""
    reader: TaskKey | None = None
    """Who reads in this wave."""
    dry: set[TaskKey] = field(default_factory=set)
    """Sources that had no rows when they were last asked."""
    clock_went_on: bool = False
    """Whether the clock has gone on since rows were last read."""
    acted: bool = False
    """Whether the watermark was raised, or the clock has gone on, as was asked for."""
    ending: bool = False
    """Whether the sources were told to end."""
    batches: int = 0
    read: Counter[tuple[str, str]] = field(default_factory=Counter)
    watermark_before_us: int | None = None

    @property
    def watermark_us(self) -> int | None:
        return min(self.made.values(), default=None)


class Stepper:
    """Carries out the steps of one job.

    Parameters
    ----------
    clock_us
        Where the clock stands; None while it goes with the time of day.
    last
        The last step that an earlier coordinator knew of.

    Attributes
    ----------
    clock_us : int | None
        Where the clock stands.
    status : StepStatus | None
        The last step.
    """

    def __init__(self, clock_us: int | None = None, last: StepStatus | None = None) -> None:
        self.clock_us = clock_us
        self.status = last
        self._wants_end = False
        self._told = last
        self._running: _Running | None = None
        self._waiting: StepRequested | None = None
        self._number = 0
        if last is not None and last.state == "running":
            self._fail("the job's coordinator ended")

    def handle(
        self, event: StepRequested | StepTaken, attempt: AttemptState, plan: LaidOut, now_us: int, refusal: str
    ) -> list[Command]:
        """Take a request, after which the clock stands, or what a task says of a wave; return what follows.

        `refusal` says what the job is instead of one that can be stepped; empty when it can.
        """
        if isinstance(event, StepTaken):
            attempt.tasks[event.status.vertex, event.status.subtask] = event.status
            self._take(event)
        elif refusal or self._is_busy:
            return [Refuse(refusal or "one that is being stepped by somebody else")]
        else:
            self._waiting, self.status = event, StepStatus(request=event.request)
            self.clock_us = now_us if self.clock_us is None else self.clock_us
        return self.go_on(attempt, plan)

    def has_news(self) -> bool:
        """Return whether the status has changed since this was asked last."""
        told, self._told = self._told, self.status
        return told is not self.status

    def takes_end(self) -> bool:
        """Return, once, that everything has been read that a replay is to read, so that it is to end."""
        wants, self._wants_end = self._wants_end, False
        return wants

    @property
    def _is_busy(self) -> bool:
        return self._running is not None or self._waiting is not None

    def _take(self, event: StepTaken) -> None:
        run, key = self._running, (event.status.vertex, event.status.subtask)
        if run is None or event.number != self._number:
            return
        run.waiting.discard(key)
        if event.made_watermark_us is not None:
            run.made[key] = event.made_watermark_us
        if event.source is not None:
            self._take_source(run, key, event.source)

    def _take_source(self, run: _Running, key: TaskKey, view: SourceView) -> None:
        if key == run.reader:
            known = run.sources[key]
            if view.rows_in > known.rows_in:
                run.batches += 1
                run.dry.clear()
                run.clock_went_on = False
            else:
                run.dry.add(key)
            for split, rows in view.read.items():
                run.read[key[0], split] += rows
        run.sources[key] = view

    def go_on(self, attempt: AttemptState, plan: LaidOut) -> list[Command]:
        """Return what follows from what is known now: the next wave when the last one is over."""
        if not attempt.deployed:
            return []
        left = plan.tasks - attempt.finished.keys()
        if self._waiting is not None and self._running is None:
            self._running, self._waiting = _Running(self._waiting), None
            return self._wave(left)
        run = self._running
        if run is None or run.waiting & left or run.ending:
            return []
        self._count_ended(run, attempt)
        if attempt.finished.keys() >= plan.sinks:
            # Nobody takes rows any more: the job is about to end.
            run.ending = True
            return []
        for ended in attempt.finished:
            run.sources.pop(ended, None)
            run.made.pop(ended, None)
            run.dry.discard(ended)
        if run.waves == 1:
            run.watermark_before_us, run.before = run.watermark_us, _set_aside(attempt)
        order = {vertex: at for at, vertex in enumerate(plan.vertices)}
        return self._next(run, left, order, attempt)

    def _count_ended(self, run: _Running, attempt: AttemptState) -> None:
        """Count what the reader of this wave has read, if its task has ended with it and so told only its figures."""
        key, run.reader = run.reader, None
        if key in attempt.finished and key in run.sources and key in attempt.tasks:
            rows = attempt.tasks[key].rows_in - run.sources[key].rows_in
            if rows > 0:
                run.batches += 1
                run.read[key[0], ""] += rows

    # -- what comes next -----------------------------------------------------------------------------------------

    def _next(self, run: _Running, left: set[TaskKey], order: dict[str, int], attempt: AttemptState) -> list[Command]:
        over = tuple(sorted(key for key, view in run.sources.items() if view.is_over))
        if over and len(over) < len(run.sources):
            # One that has nothing left does not hold the others back.
            return self._wave(left, action="end", tasks=over)
        if run.request.goal in {"watermark", "event_time"} and run.watermark_before_us is None:
            return self._fail("no source and no step of the query makes watermarks")
        if self._is_there(run) or (over and run.request.goal == "checkpoint"):
            return self._finish(attempt)
        if run.request.goal in {"event_time", "clock"}:
            return self._act(run, left)
        if run.sources and not over:
            return self._read(run, left, order, attempt)
        run.ending = True
        return self._wave(left, action="end", tasks=over)

    def _act(self, run: _Running, left: set[TaskKey]) -> list[Command]:
        """Raise the watermark, or let the clock go on, as was asked for."""
        run.acted, amount, before = True, run.request.amount, run.watermark_before_us
        if run.request.goal == "clock":
            self.clock_us = (self.clock_us or 0) + amount
            return self._wave(left)
        if run.request.is_relative and before is not None:
            if before == MIN_TIME_US:
                return self._fail("there is no watermark yet to count from")
            amount += before
        if before is not None and amount <= before:
            return self._fail(f"the watermark is at {show_us(before)} already, and never falls")
        return self._wave(left, action="advance", us=amount)

    def _read(self, run: _Running, left: set[TaskKey], order: dict[str, int], attempt: AttemptState) -> list[Command]:
        run.dry = {key for key in run.dry if run.sources[key].order is not None}
        ready = [
            (view.order, order[key[0]], key)
            for key, view in run.sources.items()
            if view.order is not None and key not in run.dry
        ]
        if ready:
            # Ties go to the split that one reader alone would take: by its turn and place, whoever has it.
            (_, _, run.reader) = min(ready, key=lambda one: (one[0][0], one[1], one[0][1:], one[2]))
            return self._wave(left, action="read", tasks=(run.reader,))
        if not run.dry:
            # Every source is where a checkpoint bounds it: that of this step, or the one at which a replay ends.
            if run.request.goal != "checkpoint":
                self._wants_end = run.ending = True
                return []
            return self._finish(attempt)
        clock = self.clock_us or 0
        wakeups = [run.sources[key].wakeup_us for key in run.dry]
        later = [us for us in wakeups if us is not None and us > clock]
        if not later or run.clock_went_on:
            return self._finish(attempt, "there are no rows now")
        self.clock_us, run.clock_went_on = min(later), True
        run.dry.clear()
        return self._wave(left)

    def _is_there(self, run: _Running) -> bool:
        match run.request.goal:
            case "batches":
                return run.batches >= run.request.amount
            case "watermark":
                now, before = run.watermark_us, run.watermark_before_us
                return now is None or (before is not None and now > before)
            case "checkpoint":
                return all(view.order is None for view in run.sources.values())
            case "event_time" | "clock":
                return run.acted

    def _wave(
        self, left: set[TaskKey], *, action: str = "look", tasks: tuple[TaskKey, ...] = (), us: int = 0
    ) -> list[Command]:
        run = self._running
        if run is None:
            return []
        self._number += 1
        run.waves += 1
        run.waiting = set(left)
        request = run.request
        bound = request.amount if request.goal == "checkpoint" else 0
        step = Step(self._number, self.clock_us or 0, "look", tasks, request.rows, us, bound, request.store)
        return [msgspec.structs.replace(step, action=action)]

    # -- how it ends ---------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Let the clock go with the time of day again."""
        self.clock_us = None
        self.abort("the job was resumed")

    def abort(self, reason: str) -> None:
        """Give up the step that is under way, if there is one."""
        if self._is_busy:
            self._fail(reason)

    def end(self, state: JobState, failure: Failure | None, attempt: AttemptState) -> None:
        """Note that the job has ended: a step that led there is done."""
        if self._running is not None and state in {JobState.FINISHED, JobState.STOPPED}:
            self._count_ended(self._running, attempt)
            self._finish(attempt, ended=True)
        else:
            self.abort(f"the job has {state}" if failure is None else failure.message)

    def _finish(self, attempt: AttemptState, reason: str = "", *, ended: bool = False) -> list[Command]:
        run, self._running = self._running, None
        if run is not None:
            late, letters = _set_aside(attempt)
            is_over = ended or run.watermark_us is None
            self.status = StepStatus(
                request=run.request.request,
                state="done",
                reason=reason,
                read=tuple(SplitRead(source, split, rows) for (source, split), rows in run.read.items()),
                batches=run.batches,
                watermark_before_us=run.watermark_before_us,
                watermark_us=MAX_TIME_US if is_over and run.watermark_before_us is not None else run.watermark_us,
                late_rows=late - run.before[0],
                dead_letters=letters - run.before[1],
                ended=ended,
            )
        return []

    def _fail(self, reason: str) -> list[Command]:
        self._running = self._waiting = None
        if self.status is not None:
            self.status = msgspec.structs.replace(self.status, state="failed", reason=reason)
        return []


def _set_aside(attempt: AttemptState) -> tuple[int, int]:
    """Return how many rows were late, and how much input was not understood, so far."""
    tasks = attempt.tasks.values()
    return sum(task.late_rows for task in tasks), sum(task.dead_letters for task in tasks)
