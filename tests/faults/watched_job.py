"""One job under faults: a place of its own, waiting for what it does, and the proof that it came out right.

The law: what is in the sink is what the query gives on all rows, each once; the job got there by itself; and nothing of
it is left: no process, no socket, nothing staged or hidden.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from fault_jobs import Broken

from streamlab.core.errors import JobError
from streamlab.observe.status import JobStatus
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.job_folder.job_processes import JobProcesses
from streamlab.runtime.process.fault_injection import VARIABLE

PATIENCE_S = 60.0
GRACE_S = 10.0
_SOME_ROWS = 500
PATIENT = {
    "parallelism": 2,
    "checkpoint_every": "100ms",
    "restart_delay_ms": 20,
    "max_restart_delay_ms": 200,
    "max_restarts": 60,
}
FROZEN = {**PATIENT, "heartbeat_timeout_ms": 1_500}
"""A process that does not run is missed soon."""
HANGING = {
    **PATIENT,
    "heartbeat_timeout_ms": 3_000,
    "step_timeout_ms": 1_500,
    "commit_timeout_ms": 4_000,
    "checkpoint_timeout_ms": 5_000,
}
"""So is one that hangs; on a busy machine even one that does not, which then begins once more."""


class LawBroken(AssertionError):
    """A job did not come out right."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: rows that are missing and rows that are there too often."""

    lost: int
    duplicated: int
    left: tuple[str, ...] = ()
    restarts: int = 0

    @property
    def is_right(self) -> bool:
        """Whether the law holds."""
        return not (self.lost or self.duplicated or self.left)


@contextlib.contextmanager
def place(keep: bool = False) -> Iterator[Path]:
    """Give a run a folder, a home for its job and a place for sockets; they are removed, unless something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="slf", dir="/tmp"))
    for name in ("faults", "home", "run"):
        (folder / name).mkdir(mode=0o700)
    told = {"STREAMLAB_HOME": folder / "home", "XDG_RUNTIME_DIR": folder / "run", VARIABLE: folder / "faults"}
    # Spares would be left, as they should.
    told["STREAMLAB_SPARES"] = Path("off")
    before = {name: os.environ.get(name) for name in told}
    os.environ.update({name: str(path) for name, path in told.items()})
    try:
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        end_processes(folder)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def end_processes(folder: Path) -> None:
    for process in processes_of(folder):
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes of jobs in a run's folder that have not ended."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if "streamlab.runtime" in words and _is_of(process, words, folder):
                found.append(process)
    return found


def _is_of(process: psutil.Process, words: str, folder: Path) -> bool:
    if process.status() == psutil.STATUS_ZOMBIE:
        return False
    return str(folder) in words or process.environ().get("STREAMLAB_HOME") == str(folder / "home")


class Watched:
    """A job whose folder and processes are looked at from outside.

    Parameters
    ----------
    broken
        The job.
    folder
        Of the run.
    """

    def __init__(self, broken: Broken, folder: Path) -> None:
        self.broken = broken
        self.job = broken.job
        self.folder = folder
        self._rows_us: int | None = None
        self._files = JobFolder(folder / "home" / "jobs" / self.job.id)

    def status(self) -> JobStatus | None:
        """Return what the coordinator has written last; reading it ends nothing."""
        return self._files.read_status()

    def processes(self) -> JobProcesses | None:
        return self._files.read_processes()

    def wait_for(self, condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait for a condition. Raises LawBroken when it does not come, or the job ends before it does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            status = self.status()
            if status is not None and status.state.is_final:
                self._fail(f"the job has ended ({status.state}) before {what}")
            if time.monotonic() > deadline:
                self._fail(f"no {what}")
            # Clients look after their jobs: a coordinator that is lost with its guardian is found out by them.
            with contextlib.suppress(JobError):
                self.job.report()
            time.sleep(0.02)

    def complete_since(self, moment_us: int) -> int | None:
        """Return the wall clock (µs) at which the first checkpoint begun after a moment was complete; None before."""
        status = self.status()
        ends = [
            c.triggered_us + int((c.duration_ms or 0) * 1000)
            for c in (status.checkpoints if status is not None else ())
            if c.state in {"complete", "deleted"} and c.triggered_us > moment_us
        ]
        return min(ends, default=None)

    def is_under_way(self) -> bool:
        """Whether rows have come and a checkpoint has been taken after that."""
        status = self.status()
        if self._rows_us is None and status is not None and status.rows_in >= _SOME_ROWS:
            self._rows_us = status.reported_us
        return self._rows_us is not None and self.complete_since(self._rows_us) is not None

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    def finish(self) -> Outcome:
        """Let all rows through, wait for the job's end, and judge it."""
        self.open_gate()
        state = self.job.wait(PATIENCE_S) if self.broken.feeder is None else self._stop_when_all_was_read()
        if state != ("finished" if self.broken.feeder is None else "stopped"):
            self._fail(f"the job is {state}, {self.job.exception}")
        there, expected = Counter(self.broken.read()), Counter(self.broken.expected())
        lost, duplicated = (expected - there).total(), (there - expected).total()
        status = self.status()
        return Outcome(lost, duplicated, self._left(), 0 if status is None else status.restarts)

    def _stop_when_all_was_read(self) -> str:
        """Let all rows of a source without end be read, as far as they are, then stop the job."""
        feeder = self.broken.feeder
        assert feeder is not None
        feeder.put_the_rest()

        def has_read_all() -> bool:
            status = self.status()
            return status is not None and status.rows_in >= feeder.rows

        # Rows that do not come are counted in the sink.
        with contextlib.suppress(LawBroken):
            self.wait_for(has_read_all, "last row")
        return self.job.stop(PATIENCE_S, drain=True)

    def judge(self, outcome: Outcome) -> None:
        """Raise LawBroken unless the law holds."""
        if not outcome.is_right:
            self._fail(str(outcome))

    def _left(self) -> tuple[str, ...]:
        deadline = time.monotonic() + GRACE_S
        while (processes := processes_of(self.folder)) and time.monotonic() < deadline:
            time.sleep(0.02)
        left = [f"process {process.pid}" for process in processes]
        left += [f"sockets {path}" for path in (self.folder / "run").glob("streamlab/*")]
        left += [f"staged {path.name}" for path in self._files.path.glob("staged/*/*.arrow")]
        if self.broken.out is not None:
            left += [f"hidden {path.name}" for path in self.broken.out.glob(".*")]
        return tuple(left)

    def _fail(self, what: str) -> None:
        status = self.status()
        failure = status.failure or status.last_failure if status is not None else None
        text = f"{what}; job folder {self._files.path}"
        if failure is not None:
            text += f"\n{failure.message}\n{failure.traceback}"
        raise LawBroken(text)
