"""Every failpoint, with an exception, a SIGKILL and a hang, in jobs of real processes: ``make faults``.

Each run plants one fault in one job, sees to it that the place is reached, and waits until the job has recovered by
itself and come to its end; then the law must hold (see ``watched_job``). A fault that does not happen is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # workers find what stands here on the path of this process

from fault_jobs import TOPOLOGIES
from many_runs import run_all
from watched_job import HANGING, PATIENT, LawBroken, Watched, place

from streamlab.core.errors import StreamlabError
from streamlab.core.failpoints import POINTS
from streamlab.runtime.fault_injection import ACTIONS, PlannedFault

_PATIENCE_S = 50.0
_EVERYWHERE = frozenset(TOPOLOGIES)
_STATELESS = frozenset({"files", "recorded-files"})
_STATEFUL = _EVERYWHERE - _STATELESS
_OUTSIDE = _EVERYWHERE - {"groups-results"}


@dataclass(frozen=True)
class Place:
    """Where a fault is planted.

    Attributes
    ----------
    point, process, hit : str, str, int
        See ``streamlab.runtime.fault_injection``.
    topologies : frozenset[str]
        The jobs that come by there.
    after : str
        What must happen first: ``""`` (the job runs), ``kill worker``, ``kill coordinator``, ``end``, ``rescale``.
    """

    point: str
    process: str
    hit: int = 1
    topologies: frozenset[str] = _EVERYWHERE
    after: str = ""


PLACES = (
    Place("attempts.write", "coordinator"),
    Place("attempts.written", "coordinator", 2, after="kill worker"),
    Place("barrier.align", "worker", 3, _STATEFUL),
    Place("barrier.forward", "worker", 3),
    Place("barrier.inject", "worker-0", 3),
    Place("checkpoint.report", "worker-1", 3),
    Place("coordinator.collect", "coordinator", 5),
    Place("coordinator.commit", "coordinator", 2),
    Place("coordinator.finish", "coordinator", after="end"),
    Place("coordinator.publish", "coordinator", 6),
    Place("coordinator.takeover", "coordinator", after="kill coordinator"),
    Place("gc.delete", "coordinator", 2),
    Place("guardian.watch", "guardian", 2),
    Place("manifest.fsync", "coordinator", 2),
    Place("manifest.rename", "coordinator", 2),
    Place("manifest.write", "coordinator", 2),
    Place("op.process", "worker", 12),
    Place("op.snapshot", "worker", 4),
    Place("recording.append", "worker", 8, frozenset({"recorded-files"})),
    Place("recording.fsync", "worker", 3, frozenset({"recorded-files"})),
    Place("rescale.stop", "coordinator", 1, _STATEFUL, "rescale"),
    Place("restore.read", "worker", 1, _STATEFUL, "kill worker"),
    Place("results.append", "worker", 4, frozenset({"groups-results"})),
    Place("results.fsync", "worker", 3, frozenset({"groups-results"})),
    Place("route.receive", "worker", 15, _STATEFUL),
    Place("route.send", "worker", 15, _STATEFUL),
    Place("sink.commit", "worker", 2),
    Place("sink.commit_ack", "worker", 2),
    Place("sink.prepare", "worker", 3),
    Place("sink.publish", "worker", 2, _OUTSIDE),
    Place("sink.stage", "worker", 2, _OUTSIDE),
    Place("sink.write", "worker", 3),
    Place("source.position", "worker", 3),
    Place("source.read", "worker", 40),
    Place("state.fsync", "worker", 2, _STATEFUL),
    Place("state.rename", "worker", 2, _STATEFUL),
    Place("state.write", "worker", 2, _STATEFUL),
    Place("task.finish", "worker", 1, after="end"),
    Place("worker.deploy", "worker-1"),
    Place("worker.start", "worker-0", 1, after="kill worker"),
)


@dataclass(frozen=True)
class Case:
    """One run."""

    place: Place
    action: str
    topology: str

    def __str__(self) -> str:
        return f"{self.place.point} {self.action} {self.topology}"


@dataclass(frozen=True)
class Result:
    """What came of one."""

    case: Case
    fired: bool
    outcome: str
    recovery_s: float | None


def cases() -> Iterator[Case]:
    """Give all runs."""
    for where in PLACES:
        for action in ACTIONS:
            for topology in TOPOLOGIES:
                if topology in where.topologies:
                    yield Case(where, action, topology)


def run_case(case: Case, dsn: str) -> Result:
    """Plant a fault, wait for recovery and end, and judge."""
    where = case.place
    fault = PlannedFault(where.process, where.point, case.action, where.hit)
    fired_ns: int | None = None
    recovery_s = None
    try:
        with place() as folder:
            fault.plant(folder / "faults")
            options = HANGING if case.action == "hang" else PATIENT
            watched = Watched(TOPOLOGIES[case.topology](folder, dsn, options), folder)
            with _brought_about(where, watched):
                _wait_until_fired(watched, fault)
            fired_ns = fault.fired(folder / "faults")
            recovery_s = _recovered(watched, fired_ns)
            outcome = watched.finish()
            watched.judge(outcome)
            return Result(case, fired_ns is not None, "right" if fired_ns else "did not happen", recovery_s)
    except Exception as error:
        text = str(error) if isinstance(error, LawBroken) else traceback.format_exc()
        return Result(case, fired_ns is not None, text, recovery_s)


@contextlib.contextmanager
def _brought_about(where: Place, watched: Watched) -> Iterator[None]:
    """Have the job come by the place."""
    if not where.after:
        yield
        return
    watched.wait_for(watched.is_under_way, "checkpoint with rows")
    asking = None
    if where.after == "end":
        watched.open_gate()
    elif where.after == "rescale":
        asking = threading.Thread(target=_rescale, args=(watched,))
        asking.start()
    else:
        processes = watched.processes()
        if processes is not None:
            found = processes.workers[0] if where.after == "kill worker" else processes.coordinator
            os.kill(found.pid, signal.SIGKILL)
    try:
        yield
    finally:
        if asking is not None:
            asking.join()


def _rescale(watched: Watched) -> None:
    # A request dies with its coordinator; that the job goes on is what matters here.
    with contextlib.suppress(StreamlabError):
        watched.job.rescale(1, timeout=_PATIENCE_S)


def _wait_until_fired(watched: Watched, fault: PlannedFault) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while fault.fired(watched.folder / "faults") is None and time.monotonic() < deadline:
        status = watched.status()
        if status is not None and status.state.is_final:
            return
        time.sleep(0.01)


def _recovered(watched: Watched, fired_ns: int | None) -> float | None:
    """Return how long it took until a whole checkpoint was begun and done after the fault; None if the job ended."""
    if fired_ns is None:
        return None
    fired_us = fired_ns // 1_000

    def has_recovered() -> bool:
        status = watched.status()
        return watched.complete_since(fired_us) is not None or (status is not None and status.state == "finished")

    watched.wait_for(has_recovered, f"recovery from {fired_us}")
    complete_us = watched.complete_since(fired_us)
    return None if complete_us is None else (complete_us - fired_us) / 1e6


def run_cases(chosen: list[Case], jobs: int) -> list[Result]:
    """Run cases, several at once, and tell of each one that is not right."""
    done: list[Result] = []
    for result in run_all(run_case, chosen, jobs):
        done.append(result)
        if result.outcome != "right":
            print(f"{result.case}: {result.outcome}", flush=True)
        if len(done) % 20 == 0:
            print(f"{len(done)} of {len(chosen)} runs", flush=True)
    return done


def table(results: list[Result]) -> str:
    """Return the matrix: a line for each point and action, a column for each topology, seconds to recover in it."""
    found = {(r.case.place.point, r.case.action, r.case.topology): r for r in results}
    names = [name for name in TOPOLOGIES if any(key[2] == name for key in found)]
    lines = [f"{'point':21}{'action':8}{''.join(f'{name:>16}' for name in names)}"]
    for point, action in dict.fromkeys((r.case.place.point, r.case.action) for r in results):
        cells = [_cell(found.get((point, action, name))) for name in names]
        lines.append(f"{point:21}{action:8}{''.join(f'{cell:>16}' for cell in cells)}")
    return "\n".join(lines)


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    if not result.fired:
        return "NOT REACHED"
    if result.outcome != "right":
        return "WRONG"
    return "at end" if result.recovery_s is None else f"{result.recovery_s:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description="Every failpoint, every action, on real processes.")
    parser.add_argument("--point", choices=sorted(POINTS), help="only this one")
    parser.add_argument("--action", choices=ACTIONS, help="only this one")
    parser.add_argument("--topology", choices=sorted(TOPOLOGIES), help="only this one")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    asked = parser.parse_args()
    wanted = [
        case
        for case in cases()
        if asked.point in {None, case.place.point}
        and asked.action in {None, case.action}
        and asked.topology in {None, case.topology}
    ]
    order = {case: at for at, case in enumerate(wanted)}
    results = sorted(run_cases(wanted, asked.jobs), key=lambda result: order[result.case])
    print(table(results))
    wrong = sum(result.outcome != "right" for result in results)
    recoveries = [result.recovery_s for result in results if result.recovery_s is not None]
    print(f"points: {len({r.case.place.point for r in results if r.fired})} reached of {len(POINTS)}")
    print(f"runs: {len(results)}, fired: {sum(r.fired for r in results)}, wrong: {wrong}")
    print(f"slowest recovery: {max(recoveries, default=0):.1f} s (fault to a whole checkpoint)")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
