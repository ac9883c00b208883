"""Fault storms: ``make storm N=300 SEED=1``. Random schedules of 3 to 8 faults against jobs of real processes.

One integer is a whole schedule; its sink is the remainder by three. With ``ON=folders`` the jobs follow a folder, into
which files are renamed meanwhile. What may happen in a storm:

==================  =================================================================================================
fault               what it is
==================  =================================================================================================
kill a process      SIGKILL to a worker, the coordinator or the guardian
kill soon after     SIGKILL to a worker or the coordinator 0 to 500 ms after an attempt has begun
freeze a process    SIGSTOP to a worker or the coordinator, SIGCONT 50 to 2,500 ms later: before or after it was missed
zombie              SIGSTOP to a worker, SIGKILL to the coordinator; the worker wakes up under the next coordinator
rescale             another number of subtasks is asked for, of jobs that follow a folder
full disk           the job's folder has no byte left for 100 to 800 ms (a small tmpfs; without root a worker is killed)
==================  =================================================================================================
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

sys.path.append(str(Path(__file__).parents[1]))  # workers find what stands here on the path of this process

from fault_jobs import (
    Topology,
    files,
    followed_rows,
    followed_windows,
    groups_to_postgres,
    pairs_to_sqlite,
    rows_followed_by_several,
    rows_to_postgres,
    windows_to_sqlite,
)
from many_runs import run_all
from watched_job import FROZEN, LawBroken, Outcome, Watched, place

from streamlab.core.errors import JobError

SINKS: dict[str, tuple[Topology, ...]] = {
    "files": (files,),
    "sqlite": (windows_to_sqlite, pairs_to_sqlite),
    "postgres": (rows_to_postgres, groups_to_postgres),
}
FOLDERS: dict[str, tuple[Topology, ...]] = {
    "one subtask": (followed_rows,),
    "several subtasks": (rows_followed_by_several,),
    "windows": (followed_windows,),
}
"""Jobs that follow a folder."""
ON = {"sinks": SINKS, "folders": FOLDERS}
_KINDS = ("kill", "kill", "kill", "soon", "soon", "freeze", "freeze", "zombie", "disk")
_DISK_BYTES = 48 * 2**20
_MOST_COORDINATORS = 4
"""Coordinators that may be killed in one storm: each further one is waited for twice as long."""
_PAUSE_MS = 900
_BETWEEN_S = 20.0


@dataclass(frozen=True)
class Strike:
    """One fault.

    Attributes
    ----------
    kind, who : str
        What happens, and to which process; a worker is one of the two there are. Of ``rescale``: how many subtasks.
    after_ms : int
        How long after the fault before; for ``soon``, after the next attempt has begun.
    hold_ms : int
        How long it lasts.
    """

    kind: str
    who: str
    after_ms: int
    hold_ms: int = 0


def schedule(seed: int, on: str) -> tuple[Strike, ...]:
    """Return the faults of a storm."""
    random = Random(f"storm {seed}")
    kinds = (*_KINDS, "rescale", "rescale") if on == "folders" else _KINDS
    strikes: list[Strike] = []
    coordinators = 0
    for _ in range(random.randint(3, 8)):
        kind = random.choice(kinds)
        can_coordinator = coordinators < _MOST_COORDINATORS
        who = random.choice(("worker-0", "worker-1", "coordinator" if can_coordinator else "worker-0"))
        if kind == "kill" and random.random() < 0.2:
            who = "guardian"
        if kind == "zombie":
            who = random.choice(("worker-0", "worker-1"))
            kind = kind if can_coordinator else "freeze"
        if kind == "rescale":
            who = random.choice("123")
        coordinators += who == "coordinator" or kind == "zombie"
        hold = {"freeze": random.choice((200, 800, 2_500)), "zombie": 2_500, "disk": 800}.get(kind, 0)
        after = 500 if kind == "soon" else _PAUSE_MS
        strikes.append(Strike(kind, who, random.randint(0, after), random.randint(min(50, hold), hold)))
    return tuple(strikes)


@dataclass(frozen=True)
class Storm:
    """What came of one."""

    seed: int
    sink: str
    happened: Counter[str]
    outcome: Outcome | None
    recovery_s: float
    seconds: float
    failure: str = ""


def run_storm(seed: int, dsn: str, *, on: str) -> Storm:
    """Run a job under a schedule, let it come to its end, and judge it."""
    sinks = ON[on]
    sink = tuple(sinks)[seed % len(sinks)]
    topologies = sinks[sink]
    topology = topologies[seed // len(sinks) % len(topologies)]
    began = time.monotonic()
    happened: Counter[str] = Counter()
    outcome, recovery_s, failure = None, 0.0, ""
    try:
        with place() as folder, _small_disk(folder / "home") as is_small:
            watched = Watched(topology(folder, dsn, FROZEN), folder)
            watched.wait_for(watched.processes, "coordinator")
            if on == "folders":
                # What is to be lost or doubled is a file that was found after the start.
                watched.wait_for(watched.is_under_way, "first checkpoint")
                if watched.broken.feeder is not None:
                    watched.broken.feeder.begin()
            with _Striking(watched, is_small=is_small) as striking:
                over_us = time.time_ns() // 1_000
                for strike in schedule(seed, on):
                    if on == "folders" and strike.kind in {"kill", "rescale"}:
                        # So that rows have been read since the strike before, if the machine is not too slow for that.
                        with contextlib.suppress(LawBroken):
                            watched.wait_for(partial(watched.complete_since, over_us), "checkpoint", _BETWEEN_S)
                    happened[striking.strike(strike)] += 1
                    over_us = time.time_ns() // 1_000
            over_us = time.time_ns() // 1_000
            watched.wait_for(lambda: watched.complete_since(over_us), "checkpoint after the storm")
            recovery_s = ((watched.complete_since(over_us) or over_us) - over_us) / 1e6
            outcome = watched.finish()
            watched.judge(outcome)
    except Exception as error:
        failure = str(error) if isinstance(error, LawBroken) else traceback.format_exc()
    return Storm(seed, sink, happened, outcome, recovery_s, time.monotonic() - began, failure)


class _Striking:
    """Lets faults happen to one job; at the end every process runs and the disk has room."""

    def __init__(self, watched: Watched, *, is_small: bool) -> None:
        self._watched = watched
        self._is_small = is_small
        self._frozen: list[tuple[float, int]] = []

    def __enter__(self) -> _Striking:
        return self

    def __exit__(self, *_: object) -> None:
        self._sleep_until(max((until for until, _ in self._frozen), default=0.0))

    def strike(self, strike: Strike) -> str:
        """Let a fault happen, and return what it was."""
        kind = strike.kind
        if kind == "soon":
            self._wait_for_attempt()
        self._sleep_until(time.monotonic() + strike.after_ms / 1000)
        if kind == "disk" and self._is_small:
            self._fill(strike.hold_ms / 1000)
            return "full disk"
        if kind == "rescale":
            # Refused while another one is under way, or given up when a process dies: it is asked for, no more.
            with contextlib.suppress(JobError):
                self._watched.job.rescale(int(strike.who), timeout=0)
            return "rescale"
        if kind in {"freeze", "zombie"}:
            if kind == "zombie" or strike.who == "coordinator":
                self._watched.wait_for(self._has_guardian, "guardian")
            self._freeze(strike.who, strike.hold_ms / 1000)
            if kind == "zombie":
                self._signal("coordinator", signal.SIGKILL)
                return "zombie worker"
            return f"freeze {strike.who.partition('-')[0]}"
        if strike.who == "guardian":
            # With its coordinator dead, or soon to be, nobody is left to see to the job: not what is asked here.
            self._sleep_until(max((until for until, _ in self._frozen), default=0.0))
            self._watched.wait_for(self._has_coordinator, "coordinator")
        elif strike.who == "coordinator":
            self._watched.wait_for(self._has_guardian, "guardian")
        self._signal(strike.who, signal.SIGKILL)
        return f"kill {strike.who.partition('-')[0]}{' soon after a start' if kind == 'soon' else ''}"

    def _has_coordinator(self) -> bool:
        processes = self._watched.processes()
        return processes is not None and processes.coordinator.is_alive

    def _has_guardian(self) -> bool:
        processes = self._watched.processes()
        return processes is not None and processes.guardian is not None and processes.guardian.is_alive

    def _signal(self, who: str, number: signal.Signals) -> int | None:
        processes = self._watched.processes()
        if processes is None:
            return None
        found = processes.coordinator
        if who == "guardian":
            found = processes.guardian or found
        elif who != "coordinator":
            index = int(who.partition("-")[2])
            if index >= len(processes.workers):
                return None
            found = processes.workers[index]
        if not found.is_alive:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, number)
        return found.pid

    def _freeze(self, who: str, hold_s: float) -> None:
        pid = self._signal(who, signal.SIGSTOP)
        if pid is not None:
            self._frozen.append((time.monotonic() + hold_s, pid))

    def _wait_for_attempt(self) -> None:
        """Wait for a little while until another attempt begins: the fault before may not have cost the last one."""
        status = self._watched.status()
        before = status.attempt if status is not None else 0
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            status = self._watched.status()
            if status is not None and status.attempt > before:
                return
            self._sleep_until(time.monotonic() + 0.005)

    def _fill(self, hold_s: float) -> None:
        filler = self._watched.folder / "home" / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(2**16)):
                pass
        # The last page, too.
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
            while file.write(bytes(512)):
                pass
        try:
            self._sleep_until(time.monotonic() + hold_s)
        finally:
            filler.unlink()

    def _sleep_until(self, moment: float) -> None:
        """Sleep, and wake the frozen when it is time for them."""
        while True:
            now = time.monotonic()
            for until, pid in [one for one in self._frozen if one[0] <= now]:
                self._frozen.remove((until, pid))
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGCONT)
            if now >= moment:
                return
            time.sleep(min([moment - now, *(until - now for until, _ in self._frozen)]))


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """Put a folder on a disk that is soon full, if that is allowed here."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=700", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield False
        return
    try:
        yield True
    except BaseException:
        shutil.copytree(folder, folder.with_name("home-after"), ignore_dangling_symlinks=True)
        raise
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def run_storms(seeds: list[int], jobs: int, on: str) -> list[Storm]:
    """Run storms, several at once, and tell of each one that fails."""
    done: list[Storm] = []
    for storm in run_all(partial(run_storm, on=on), seeds, jobs):
        done.append(storm)
        if storm.failure:
            print(f"seed {storm.seed} ({storm.sink}): {storm.failure}", flush=True)
            print("\n".join(f"    {strike}" for strike in schedule(storm.seed, on)), flush=True)
        if len(done) % 10 == 0:
            print(f"{len(done)} of {len(seeds)} storms", flush=True)
    return done


def summary(storms: list[Storm]) -> str:
    """Return what is said at the end."""
    kinds: Counter[str] = sum((storm.happened for storm in storms), Counter())
    sinks = Counter(storm.sink for storm in storms)
    judged = [storm.outcome for storm in storms if storm.outcome is not None]
    slowest = max(storms, key=lambda storm: storm.recovery_s)
    lines = [
        f"storms: {len(storms)} ({', '.join(f'{n} {sink}' for sink, n in sorted(sinks.items()))})",
        f"faults: {kinds.total()}",
        *(f"    {count:6,}  {kind}" for kind, count in kinds.most_common()),
        f"restarts: {sum(outcome.restarts for outcome in judged):,}",
        f"lost: {sum(outcome.lost for outcome in judged)}",
        f"duplicated: {sum(outcome.duplicated for outcome in judged)}",
        f"left behind: {sum(len(outcome.left) for outcome in judged)}",
        f"slowest recovery: {slowest.recovery_s:.1f} s (last fault to a whole checkpoint; seed {slowest.seed})",
        f"slowest storm: {max((s.seconds for s in storms), default=0):.1f} s",
        f"failed: {sum(bool(storm.failure) for storm in storms)}",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fault storms on real processes.")
    parser.add_argument("--storms", type=int, default=30, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="the first schedule; the others follow")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--on", choices=tuple(ON), default="sinks", help="what sort of jobs")
    parser.add_argument("--show", action="store_true", help="only print the schedules")
    asked = parser.parse_args()
    seeds = list(range(asked.seed, asked.seed + asked.storms))
    if asked.show:
        for seed in seeds:
            print(seed, *schedule(seed, asked.on), sep="\n    ")
        return 0
    storms = run_storms(seeds, asked.jobs, asked.on)
    print(summary(storms))
    return int(any(storm.failure for storm in storms))


if __name__ == "__main__":
    sys.exit(main())
