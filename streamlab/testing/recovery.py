"""The seeded simulation of recovery: one integer is a query, a schedule and the faults in it.

After a run the rows that stand, the committed rows, late rows and dead letters must be those of the oracle, and nothing
may be left behind. A seed that fails is shrunk (fewest faults first, then the earliest) and told as a story. See
`simulated_cluster` for what happens in a run, and `faults` for what goes wrong.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from streamlab.core.errors import CheckpointError
from streamlab.observe.status import JobState
from streamlab.state.checkpoints import contents
from streamlab.state.checkpoints.contents import file_name
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.testing.faults import Fault, draw_faults
from streamlab.testing.scenarios import LOGS, SCENARIOS, Scenario
from streamlab.testing.simulated_cluster import Cluster

_TOLD_LINES = 60
_SHRINK_RUNS = 60


@dataclass(frozen=True)
class RecoveryRun:
    """One run.

    Attributes
    ----------
    seed, scenario
        What was run.
    faults : tuple[Fault, ...]
        What went wrong in it, whether or not the run lasted until then.
    steps : int
        How many things happened.
    trace_hash : str
        Digest of everything that happened, in order.
    attempts : int
        Attempts that the job took.
    went_on : bool
        Whether the client ended, and another job went on from the last checkpoint.
    failure : str
        What is the matter with the outcome; empty when nothing is.
    story : tuple[str, ...]
        What happened, line by line.
    """

    seed: int
    scenario: str
    faults: tuple[Fault, ...]
    steps: int
    trace_hash: str
    attempts: int
    went_on: bool
    failure: str
    story: tuple[str, ...]


def recover(seed: int, faults: Sequence[Fault] | None = None, scenario: Scenario | None = None) -> RecoveryRun:
    """Run a seed, with its own faults or with others, with the scenario that it stands for or with another."""
    scenario = scenario or SCENARIOS[seed % len(SCENARIOS)]
    plan = draw_faults(seed) if faults is None else tuple(faults)
    cluster = Cluster(scenario, seed)
    waiting = sorted(plan, key=lambda fault: fault.step)
    cluster.start()
    while cluster.goes_on:
        while waiting and waiting[0].step <= cluster.steps and cluster.final is None:
            waiting.pop(0).strike(cluster)
        if cluster.final is None:
            cluster.step()
    failure = _verdict(cluster)
    cluster.close()
    cluster.ledger.shelf.close()
    return RecoveryRun(
        seed,
        scenario.name,
        plan,
        cluster.steps,
        cluster.trace_hash,
        len(cluster.attempts),
        cluster.client_ended and _last_of(cluster) is not None,
        failure,
        tuple(cluster.story),
    )


def check_recovery(seed: int, faults: Sequence[Fault] | None = None, scenario: Scenario | None = None) -> RecoveryRun:
    """Run a seed as :func:`recover` does.

    Raises AssertionError with the story of its shrunk schedule when the outcome is wrong.
    """
    run = recover(seed, faults, scenario)
    if run.failure:
        raise AssertionError(told(shrunk(run, scenario)))
    return run


def _verdict(cluster: Cluster) -> str:
    """Return what is the matter with a run that has ended; empty when nothing is."""
    if cluster.ledger.complaints:
        return "\n".join([*cluster.ledger.complaints[:3], *filter(None, [_wrong_rows(cluster)])])
    if cluster.final is None:
        return _wrong_rows(cluster) if cluster.is_settled else "the job has not ended"
    if cluster.final.state is JobState.CANCELLED and cluster.client_ended:
        return _wrong_after(cluster)
    if cluster.final.state is not JobState.FINISHED:
        failure = cluster.final.failure
        if failure is not None and failure.kind == "CheckpointError" and cluster.ledger.may_go_back:
            whole = _whole(cluster)
            return f"the job failed though checkpoints {whole} are whole" if whole else ""
        return f"the job is {cluster.final.state}: {failure.message if failure else 'no reason'}"
    return _wrong_rows(cluster) or _left_behind(cluster) or _forgotten(cluster)


def _whole(cluster: Cluster) -> list[int]:
    """Return the checkpoints of which every byte is as it was written."""
    whole = []
    for checkpoint_id, manifest in cluster.manifests.newest_first():
        with suppress(CheckpointError):
            if isinstance(manifest, Manifest):
                cluster.manifests.verify(manifest)
                whole.append(checkpoint_id)
    return whole


def _wrong_after(cluster: Cluster) -> str:
    """Return what is the matter when another job goes on from the last checkpoint of one whose client has ended."""
    last = _last_of(cluster)
    if last is None:
        return ""
    origin, shelf = (cluster.blobs, last), cluster.ledger.shelf
    successor = Cluster(cluster.scenario, cluster.steps, origin=origin, shelf=shelf, before=cluster)
    successor.start()
    successor.run()
    successor.close()
    if successor.is_settled:
        return _wrong_rows(successor)
    if successor.final is None or successor.final.state is not JobState.FINISHED:
        return f"a job that goes on from the last checkpoint does not finish: {successor.ledger.complaints[:3]}"
    return _wrong_rows(successor)


def _last_of(cluster: Cluster) -> Manifest | None:
    """Return the last checkpoint of a job whose client has ended, if there was time to take and commit it."""
    taken = cluster.final.checkpoints[-1] if cluster.final is not None and cluster.final.checkpoints else None
    found = next((one for _, one in cluster.manifests.newest_first()), None)
    if taken is None or taken.trigger != "end" or not isinstance(found, Manifest) or found.id != taken.id:
        return None
    pending = {name for task in found.tasks for one in task.pending for kind, name in one if kind == "rows"}
    return None if pending & set(cluster.ledger.hidden) else found


def _wrong_rows(cluster: Cluster) -> str:
    for what, outcome in zip(("shown", "committed"), cluster.outcome(), strict=True):
        try:
            cluster.scenario.check(cluster.scenario, outcome)
        except AssertionError as error:
            return f"rows that were {what}: {error}"
    return ""


def _left_behind(cluster: Cluster) -> str:
    """Collect garbage once more; every file that is left must be needed, and every checkpoint that is left whole."""
    if cluster.ledger.hidden:
        return f"hidden transactions are left: {cluster.ledger.hidden}"
    cluster.blobs.refuse_reads(0)
    cluster.manifests.collect_garbage()
    needed: set[str] = set()
    for _, manifest in cluster.manifests.newest_first():
        if isinstance(manifest, CheckpointError):
            if not cluster.blobs.damaged:
                return f"a checkpoint that was kept is not whole: {manifest}"
            continue
        needed |= {file_name(stored) for stored in manifest.files}
    surplus = set(cluster.blobs.names(contents.FOLDER)) - needed
    if surplus and not cluster.blobs.damaged:
        return f"{len(surplus)} files are left that no checkpoint names"
    return ""


def _forgotten(cluster: Cluster) -> str:
    """Return which rescale was accepted and then neither carried out nor refused; the job may end before it is."""
    final = cluster.final
    if final is None or cluster.client_ended:
        return ""
    refused = {taken.request for taken in final.checkpoints if taken.state in {"failed", "abandoned"}}
    for token, graph, attempt in cluster.wishes:
        ran = any(later.number >= attempt and later.layout.graph == graph for later in cluster.attempts)
        if not ran and token not in refused and final.rescale != graph:
            return f"the rescale to {graph} was accepted and forgotten"
    return ""


# -- failing seeds -------------------------------------------------------------------------------------------------


def shrunk(run: RecoveryRun, scenario: Scenario | None = None) -> RecoveryRun:
    """Return a run of the same seed that fails in the same way, with the fewest faults, as early as they can be."""
    runs = 0
    best = run
    improved = True
    while improved and runs < _SHRINK_RUNS:
        improved = False
        for faults in _simpler(best.faults):
            runs += 1
            candidate = recover(run.seed, faults, *([] if scenario is None else [scenario]))
            fewer = len(faults) < len(best.faults)
            if _matter(candidate) == _matter(run) and (fewer or candidate.steps < best.steps):
                best, improved = candidate, True
                break
            if runs >= _SHRINK_RUNS:
                break
    return best


def _matter(run: RecoveryRun) -> str:
    """Return what a failure is about, without the figures in it."""
    return re.sub(r"\d+", "", run.failure.split(":", maxsplit=1)[0])


def _simpler(faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, ...]]:
    for at in range(len(faults)):
        yield faults[:at] + faults[at + 1 :]
    for at, fault in enumerate(faults):
        for step in (fault.step // 2, fault.step * 3 // 4, fault.step * 9 // 10):
            if step < fault.step:
                yield (*faults[:at], replace(fault, step=step), *faults[at + 1 :])


def told(run: RecoveryRun) -> str:
    """Return a run as a story of numbered lines."""
    faults = "; ".join(f"{fault.kind} at step {fault.step}" for fault in run.faults) or "none"
    lines = [f"{number:3}. {line}" for number, line in enumerate(run.story, 1)]
    if len(lines) > _TOLD_LINES:
        lines = ["     …", *lines[-_TOLD_LINES:]]
    head = [f"seed {run.seed} ({run.scenario}), {run.steps} steps, faults: {faults}", *lines]
    return "\n".join([*head, f"→ {run.failure or 'as it should be'}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run many seeds, tell the story of each that fails, and return how many did (at most 1 as exit code)."""
    parser = argparse.ArgumentParser(prog="python -m streamlab.testing.simulation", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: %(default)s)")
    parser.add_argument("--logs", action="store_true", help="run them on files that grow and are rotated")
    chosen = parser.parse_args(arguments)
    scenario = [LOGS] if chosen.logs else []
    failed, struck, attempts = [], 0, 0
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        run = recover(seed, None, *scenario)
        struck += sum(fault.step <= run.steps for fault in run.faults)
        attempts += run.attempts
        if run.failure:
            failed.append(seed)
            sys.stdout.write(f"{told(shrunk(run, *scenario))}\n\n")
            sys.stdout.flush()
    summary = f"{chosen.seeds} seeds, {struck} faults, {attempts} attempts, {len(failed)} failures"
    sys.stdout.write(f"{summary}{f': {failed}' if failed else ''}\n")
    return min(len(failed), 1)
