"""Rules about what keeps a job going: failures, checkpoints, the size of its state, input that was set aside."""

from __future__ import annotations

from itertools import pairwise

from streamlab.observe.diagnosis.findings import Facts, Finding, Severity, percent, quoted, steps_of
from streamlab.observe.history import Sample
from streamlab.observe.preview import shortened
from streamlab.observe.status import CheckpointStatus, JobState
from streamlab.observe.wording import last_failure, size, span

_LOOP = 3
"""Restarts in a short time that make a loop."""
_LOOP_US = 300_000_000
_LONGEST = 300
"""Characters of an error that are quoted."""
_LATEST = 5
"""Checkpoints that are looked at."""
_LONG_ALIGNMENT_MS = 1_000
_GROWTH_US = 60_000_000
_GROWTH_BYTES = 20_000_000
_GROWTH = 1.3
_PARTS = 4


def failures(facts: Facts) -> list[Finding]:
    """Find that the job has failed, or is restarted again and again."""
    status = facts.status
    if status.state is JobState.FAILED:
        said = (
            shortened(status.failure.message.strip().partition("\n")[0], _LONGEST)
            if status.failure is not None
            else "no reason was given"
        )
        step = status.failure.step if status.failure is not None else ""
        move = "read the whole error: job.exception, job.log()"
        return [Finding("failure", Severity.PROBLEM, step, f"the job has failed: {said}", move)]
    if not status.restarts:
        return []
    recent = _restarts_lately(facts)
    reason = last_failure(status) or "no reason was given"
    step = status.last_failure.step if status.last_failure is not None else ""
    if recent >= _LOOP and not status.state.is_final:
        sentence = f"restarted {recent} times within {span(_LOOP_US / 1000)}; the last time after: {reason}"
        move = "the same thing goes wrong again and again: mend its cause, see job.log()"
        return [Finding("restart loop", Severity.PROBLEM, step, sentence, move)]
    if status.state is JobState.RESTARTING:
        sentence, move = f"restarting after: {reason}", "wait: it goes on from its last checkpoint"
        return [Finding("restart", Severity.WARNING, step, sentence, move)]
    times = "once" if status.restarts == 1 else f"{status.restarts} times"
    sentence = f"restarted {times}; the last time after: {reason}"
    return [Finding("restart", Severity.HINT, step, sentence, "nothing was lost; see job.log() for the cause")]


def full_disk(facts: Facts) -> list[Finding]:
    """Find that there is no room left where the job's folder is."""
    if not facts.status.folder_full or facts.status.state.is_final:
        return []
    sentence = "the disk with the job's folder is full: no checkpoint can be stored, and figures may be old"
    move = "free some space there (streamlab gc clears old jobs away); the job ends if that takes longer than 30 s"
    return [Finding("full disk", Severity.PROBLEM, "", sentence, move)]


def _restarts_lately(facts: Facts) -> int:
    status = facts.status
    before = [one.restarts for one in facts.samples if status.reported_us - one.at_us >= _LOOP_US]
    is_young = status.reported_us - status.submitted_us < _LOOP_US
    if before:
        return status.restarts - before[-1]
    known = min((one.restarts for one in facts.samples), default=status.restarts)
    return status.restarts if is_young else status.restarts - known


def checkpoints(facts: Facts) -> list[Finding]:
    """Find that checkpoints fail, take longer than the time between them, or wait long for their barriers."""
    every_ms = facts.checkpoint_every_ms
    latest = [one for one in facts.status.checkpoints if one.state not in {"running", "deleted"}][-_LATEST:]
    if every_ms is None or not latest or facts.status.state.is_final:
        return []
    bad = [one for one in latest if one.state in {"abandoned", "failed", "damaged"}]
    if bad and bad[-1] is latest[-1]:
        last = bad[-1]
        complete = [one.id for one in facts.status.checkpoints if one.state == "complete"]
        since = f"the last complete one is {max(complete)}" if complete else "none is complete yet"
        return [
            Finding(
                kind="failed checkpoints",
                severity=Severity.PROBLEM if len(bad) >= _LOOP else Severity.WARNING,
                subject=f"checkpoint {last.id}",
                sentence=(
                    f"checkpoint {last.id} was {last.state}: {last.reason or 'no reason was given'}; "
                    f"{len(bad)} of the last {len(latest)} were not completed, {since}"
                ),
                move="a restart would go back that far: mend the cause; if they are slow, raise checkpoint_timeout_ms",
            )
        ]
    return _slow(latest[-1], every_ms)


def _slow(last: CheckpointStatus, every_ms: int) -> list[Finding]:
    if last.duration_ms is None or last.state != "complete":
        return []
    is_aligning = last.alignment_ms >= max(_LONG_ALIGNMENT_MS, last.duration_ms / 2)
    if last.duration_ms <= every_ms and not is_aligning:
        return []
    subject = f"checkpoint {last.id}"
    if is_aligning:
        sentence = (
            f"{subject} took {span(last.duration_ms)}, of which a task waited {span(last.alignment_ms)} for barriers"
        )
        move = "barriers travel behind the rows that wait: mend the bottleneck, or lower channel_batches"
        return [Finding("slow checkpoints", Severity.WARNING, subject, sentence, move)]
    sentence = f"{subject} took {span(last.duration_ms)}, longer than the {span(every_ms)} between two"
    move = f"raise checkpoint_every, keep less state, or use a faster store ({size(last.new_bytes)} were written)"
    return [Finding("slow checkpoints", Severity.WARNING, subject, sentence, move)]


def growing_state(facts: Facts) -> list[Finding]:
    """Find that the state has grown steadily, and which vertex holds most of it."""
    if not facts.is_running:
        return []
    samples = [one for one in facts.samples if one.attempt == facts.status.attempt]
    if len(samples) < 2 * _PARTS or samples[-1].at_us - samples[0].at_us < _GROWTH_US:
        return []
    length = len(samples) // _PARTS
    parts = [samples[at * length : (at + 1) * length] for at in range(_PARTS)]
    means = [sum(one.state_bytes for one in part) / length for part in parts]
    grows = all(before < after for before, after in pairwise(means))
    first, last = samples[0], samples[-1]
    if not grows or means[-1] < _GROWTH_BYTES or means[-1] < _GROWTH * means[0]:
        return []
    vertex, tasks = max(facts.subtasks(), key=lambda pair: sum(task.state_bytes for task in pair[1]))
    return [
        Finding(
            kind="growing state",
            severity=Severity.WARNING,
            subject=steps_of(tasks),
            sentence=(
                f"state has grown from {size(first.state_bytes)} to {size(last.state_bytes)} in "
                f"{span((last.at_us - first.at_us) / 1000)}, most of it in {quoted(steps_of(tasks))}"
            ),
            move=_less_state(first, last),
            vertex=vertex,
        )
    ]


def _less_state(first: Sample, last: Sample) -> str:
    if first.watermark_us is not None and first.watermark_us == last.watermark_us:
        return "the watermark stands still, so no window closes: see what holds it back"
    return (
        "a group_by without windows keeps every key for ever, and windows keep keys until they close: use shorter ones"
    )


def dead_letters(facts: Facts) -> list[Finding]:
    """Find that input was set aside because it could not be understood."""
    status = facts.status
    if not status.dead_letters:
        return []
    share = f", {percent(min(1.0, status.dead_letters / status.rows_in))} of the rows read" if status.rows_in else ""
    pieces = "piece of input was" if status.dead_letters == 1 else "pieces of input were"
    said = next((task.dead_letter for task in status.tasks if task.dead_letter), "")
    first = f"; {'the first' if status.dead_letters > 1 else 'it'}: {said}" if said else ""
    steps = [steps_of(tasks) for _, tasks in facts.subtasks() if any(task.dead_letters for task in tasks)]
    return [
        Finding(
            kind="dead letters",
            severity=Severity.WARNING,
            subject=", ".join(steps),
            sentence=f"{status.dead_letters:,} {pieces} set aside as not understood{share}{first}",
            move="look at them and at the reasons with job.dead_letters()",
        )
    ]


def nulled_values(facts: Facts) -> list[Finding]:
    """Find that a sink wrote null where its target has no word for a value."""
    found = []
    for _, tasks in facts.subtasks():
        count = sum(task.values_nulled for task in tasks)
        if count:
            values = "value was NaN or infinite and was" if count == 1 else "values were NaN or infinite and were"
            sentence = f"{count:,} {values} written as null, since the format has no word for them"
            move = "say what to write instead with fill_nan(…) before the sink"
            found.append(Finding("nulled values", Severity.WARNING, steps_of(tasks), sentence, move))
    return found
