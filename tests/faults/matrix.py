"""Every failpoint, with an exception, a SIGKILL and a hang, in jobs of real processes: ``make faults``.

Each run plants the three at one point of one job, sees to it that the place is reached, and waits until the job has
recovered by itself, each time, and come to its end; then the law must hold (see ``watched_job``). A fault that does not
happen is a failure.
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
from streamlab.runtime.process.fault_injection import ACTIONS, PlannedFault

_PATIENCE_S = 50.0
_RIGHT = "right"
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
        See ``streamlab.runtime.process.fault_injection``.
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
    Place("attempts.written", "coordinator"),
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
    Place("worker.start", "worker-0"),
)


@dataclass(frozen=True)
class Case:
    """One run: what happens at a place, one thing after the other."""

    place: Place
    actions: tuple[str, ...]
    topology: str

    def __str__(self) -> str:
        return f"{self.place.point} {'+'.join(self.actions)} {self.topology}"

    @property
    def faults(self) -> tuple[PlannedFault, ...]:
        where = self.place
        return tuple(PlannedFault(where.process, where.point, action, where.hit) for action in self.actions)


@dataclass(frozen=True)
class Result:
    """What came of one: how long each fault took until a whole checkpoint was begun and done; None when it ended."""

    case: Case
    recoveries_s: dict[str, float | None]
    outcome: str

    @property
    def is_right(self) -> bool:
        return self.outcome == _RIGHT


def cases(actions: tuple[str, ...] = ACTIONS) -> Iterator[Case]:
    """Give all runs; where nothing comes by a second time, each fault has a run of its own."""
    for topology in TOPOLOGIES:
        for where in PLACES:
            if topology in where.topologies:
                alone = (
                    [(action,) for action in actions]
                    if where.process == "guardian" or where.after == "rescale"
                    else [actions]
                )
                yield from (Case(where, one, topology) for one in alone)


def run_case(case: Case, dsn: str) -> Result:
    """Plant the faults, wait for recovery and end, and judge."""
    recoveries_s: dict[str, float | None] = {}
    try:
        with place() as folder:
            for fault in case.faults:
                fault.plant(folder / "faults")
            options = HANGING if "hang" in case.actions else PATIENT
            watched = Watched(TOPOLOGIES[case.topology](folder, dsn, options), folder)
            with _brought_about(case.place, watched):
                fired_ns = _wait_until_fired(watched, case.faults)
            recoveries_s = {action: _recovered(watched, ns) for action, ns in fired_ns.items()}
            watched.judge(watched.finish())
            missing = [action for action in case.actions if action not in fired_ns]
            return Result(case, recoveries_s, f"{', '.join(missing)} did not happen" if missing else _RIGHT)
    except Exception as error:
        text = str(error) if isinstance(error, LawBroken) else traceback.format_exc()
        return Result(case, recoveries_s, text)


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


def _wait_until_fired(watched: Watched, faults: tuple[PlannedFault, ...]) -> dict[str, int]:
    """Return when each fault happened (ns); after so long, or at the job's end, only of those that have."""
    deadline = time.monotonic() + _PATIENCE_S * len(faults)
    while True:
        found = {fault.action: fault.fired(watched.folder / "faults") for fault in faults}
        fired = {action: ns for action, ns in found.items() if ns is not None}
        status = watched.status()
        has_ended = status is not None and status.state.is_final
        if len(fired) == len(faults) or has_ended or time.monotonic() > deadline:
            return fired
        # Clients look after their jobs.
        with contextlib.suppress(StreamlabError):
            watched.job.report()
        time.sleep(0.02)


def _recovered(watched: Watched, fired_ns: int) -> float | None:
    fired_us = fired_ns // 1_000

    def has_recovered() -> bool:
        status = watched.status()
        return watched.complete_since(fired_us) is not None or (status is not None and status.state == "finished")

    watched.wait_for(has_recovered, "recovery")
    complete_us = watched.complete_since(fired_us)
    return None if complete_us is None else (complete_us - fired_us) / 1e6


def run_cases(chosen: list[Case], jobs: int) -> list[Result]:
    """Run cases, several at once, and tell of each one that is not right; when interrupted, return what there is."""
    done: list[Result] = []
    try:
        for result in run_all(run_case, chosen, jobs):
            done.append(result)
            if not result.is_right:
                print(f"{result.case}: {result.outcome}", flush=True)
            if len(done) % 20 == 0:
                print(f"{len(done)} of {len(chosen)} runs", flush=True)
    except (KeyboardInterrupt, SystemExit):
        print(f"interrupted after {len(done)} of {len(chosen)} runs")
    return done


def table(results: list[Result]) -> str:
    """Return the matrix: a line for each point and action, a column for each topology, seconds to recover in it."""
    found = {(r.case.place.point, action, r.case.topology): r for r in results for action in r.case.actions}
    names = [name for name in TOPOLOGIES if any(key[2] == name for key in found)]
    lines = [f"{'point':21}{'action':8}{''.join(f'{name:>16}' for name in names)}"]
    for point, action in sorted({key[:2] for key in found}, key=lambda key: (key[0], ACTIONS.index(key[1]))):
        cells = [_cell(found.get((point, action, name)), action) for name in names]
        lines.append(f"{point:21}{action:8}{''.join(f'{cell:>16}' for cell in cells)}")
    return "\n".join(lines)


def _cell(result: Result | None, action: str) -> str:
    if result is None:
        return "-"
    if action not in result.recoveries_s:
        return "NOT REACHED"
    if not result.is_right:
        return "WRONG"
    recovery_s = result.recoveries_s[action]
    return "at the end" if recovery_s is None else f"{recovery_s:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description="Every failpoint, every action, on real processes.")
    parser.add_argument("--point", choices=sorted(POINTS), action="append", help="only this one; may be repeated")
    parser.add_argument("--action", choices=ACTIONS, help="only this one")
    parser.add_argument("--topology", choices=sorted(TOPOLOGIES), action="append", help="likewise")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    asked = parser.parse_args()
    wanted = [
        case
        for case in cases((asked.action,) if asked.action else ACTIONS)
        if case.place.point in (asked.point or POINTS) and case.topology in (asked.topology or TOPOLOGIES)
    ]
    results = run_cases(wanted, asked.jobs)
    print(table(results))
    fired = [s for result in results for s in result.recoveries_s.values()]
    planned = sum(len(result.case.actions) for result in results)
    wrong = sum(not result.is_right for result in results)
    print(f"points: {len({r.case.place.point for r in results if r.recoveries_s})} reached of {len(POINTS)}")
    print(f"faults: {planned} planned in {len(results)} jobs, {len(fired)} happened, jobs that went wrong: {wrong}")
    print(
        f"slowest recovery: {max((s for s in fired if s is not None), default=0):.1f} s (fault to a whole checkpoint)"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
