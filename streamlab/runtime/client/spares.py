"""The processes that this session keeps ready for its next job, so that it need not wait for imports.

Spares are a coordinator and as many workers as the last job had; all of them have imported everything, know nothing of
any job, and wait (see `standby`). The next job that is started in the same surroundings (environment, current folder,
limits, where modules are found) takes them. When the processes of a job are not needed any more, and no code but
streamlab's own and Polars' has run in them (see `untouched`), they are spares again. Else others are started, also
while a job goes on that leaves a processor idle. For how long they are kept, the `spare_pool` says; a thread of this
process starts and ends them.

They end when this process does, however it ends. The environment variable STREAMLAB_SPARES, ``on`` or ``off``, says
whether there are any.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from typing import IO

from streamlab.core.errors import OptionError, explained
from streamlab.core.options import default_parallelism
from streamlab.runtime.client.spare_pool import SparePool
from streamlab.runtime.job_folder.home import home
from streamlab.runtime.process.standby import COORDINATOR, Standby
from streamlab.runtime.process.surroundings import Surroundings

VARIABLE = "STREAMLAB_SPARES"
_AFTER_START_S = 0.5
"""How long after the start of a job it is first looked whether there is a processor for its replacement: until then the
job needs them itself."""
_LATEST_S = 10.0
"""How long after that it is started although the job, or something else, leaves no processor idle."""
_LOOK_EVERY_S = 0.5
_RETURN_S = 2.0
"""How long the processes of a job that has ended may take to be ready for another one."""


@dataclass(frozen=True)
class Crew:
    """The processes of a job, or of one that is to come.

    Attributes
    ----------
    workers : int
        How many workers the coordinator has started.
    surroundings : Surroundings
        Those in which it was started.
    coordinator : Standby
        The coordinator.
    """

    workers: int
    surroundings: Surroundings
    coordinator: Standby


class Spares:
    """The spares of this process: one crew at most."""

    def __init__(self) -> None:
        self._pool = SparePool()
        self._held: Crew | None = None
        self._changed = threading.Condition()
        self._keeper: threading.Thread | None = None
        self._starts_s = 0.0
        self._latest_s = 0.0
        self._idle_before: float | None = None
        self._jobs = 0

    @property
    def held(self) -> Crew | None:
        """The crew that waits."""
        return self._held

    def take(self, workers: int, surroundings: Surroundings) -> Crew | None:
        """Return a crew that a job can have, and have another one started later; None when there is none.

        Parameters
        ----------
        workers
            How many the job needs. Its coordinator starts those that are missing, and ends those that are too many.
        surroundings
            What the job's processes would be started in.

        Raises
        ------
        OptionError
            If the environment variable is neither ``on`` nor ``off``.
        """
        if not is_on():
            self.close()
            return None
        with self._changed:
            held = self._held
            fits = held is not None and held.surroundings == surroundings and not held.coordinator.has_ended
            if fits:
                self._held = None
            self._jobs += 1
            self._expect(workers, _AFTER_START_S)
        return replace(held, workers=workers) if fits and held is not None else None

    def expect(self, workers: int) -> None:
        """Have spares started now, for a job that will come."""
        if is_on():
            with self._changed:
                self._expect(workers, 0.0)

    def expect_first(self, workers: int) -> None:
        """Have spares started now, if this process has had no job and expects none yet."""
        if not self._jobs and self._keeper is None:
            self.expect(workers)

    def take_back(self, crew: Crew) -> bool:
        """Keep the crew of a job that has ended, if it waits for another one; return whether it is kept."""
        deadline = time.monotonic() + _RETURN_S
        while not crew.coordinator.is_ready:
            if not crew.coordinator.listen(_RETURN_S) or time.monotonic() > deadline:
                return False
        with self._changed:
            other = self._held
            if not is_on() or (other is not None and other.coordinator.is_ready):
                return False
            self._held = crew
            self._changed.notify()
        if other is not None:
            other.coordinator.end()
        return True

    def job_ended(self) -> None:
        """Have what is missing started now: a job needs the processors no longer. A single job may be the only one."""
        with self._changed:
            if self._jobs > 1:
                self._starts_s = self._latest_s = 0.0
                self._changed.notify()

    def close(self) -> None:
        """End all spares, and wait until they are gone."""
        with self._changed:
            self._pool = SparePool()
            held, self._held = self._held, None
            self._changed.notify()
        if held is not None:
            held.coordinator.end()

    def forget(self) -> None:
        """Let go of spares that belong to the process that this one was forked from."""
        if self._held is not None:
            self._held.coordinator.close()
        # Another thread may have held the lock, and there is no other thread any more.
        self._changed = threading.Condition()
        self._pool, self._held, self._keeper, self._jobs = SparePool(), None, None, 0

    def _expect(self, workers: int, delay_s: float) -> None:
        now = time.monotonic()
        self._pool.expect(workers, now)
        self._starts_s, self._latest_s = now + delay_s, now + delay_s + (_LATEST_S if delay_s else 0.0)
        self._idle_before = None
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="streamlab-spares", daemon=True)
            self._keeper.start()
        self._changed.notify()

    def _keep(self) -> None:
        """Start and end spares until none are wanted any more."""
        while True:
            with self._changed:
                now = time.monotonic()
                held, surroundings, wanted = self._held, Surroundings.now(), self._pool.wanted(now)
                fits = held is None or (held.workers == wanted and held.surroundings == surroundings)
                ending = None if held is None or (fits and not held.coordinator.has_ended) else held
                if ending is not None:
                    self._held = None
                wait_s = self._starts_s - now
                starts = wanted > 0 and self._held is None and wait_s <= 0
                if starts and now < self._latest_s and not self._has_room():
                    starts, wait_s = False, _LOOK_EVERY_S
                    self._starts_s = now + wait_s
                if ending is None and not starts:
                    if not wanted:
                        self._keeper = None
                        return
                    self._changed.wait(wait_s if self._held is None else self._pool.until_change_s(now))
            if ending is not None:
                ending.coordinator.end()
            if starts:
                self._start(wanted, surroundings)

    def _has_room(self) -> bool:
        """Return whether a processor was idle since the last look; False at the first one."""
        before, self._idle_before = self._idle_before, _idle_s()
        return before is not None and self._idle_before - before >= _LOOK_EVERY_S

    def _start(self, workers: int, surroundings: Surroundings) -> None:
        try:
            crew = start_crew(workers, surroundings, subprocess.DEVNULL)
        except OSError:
            # Nobody has asked for it. The next job says why no process can be started.
            self.close()
            return
        with self._changed:
            is_late = self._held is not None
            if not is_late:
                self._held = crew
        if is_late:
            crew.coordinator.end()


def _idle_s() -> float:
    """Return for how long this machine's processors have been idle, all taken together."""
    import psutil  # noqa: PLC0415 - not for a first job, which would wait for it

    return float(psutil.cpu_times().idle)


def is_on() -> bool:
    """Return whether there are to be spares. Raises OptionError if the environment variable says neither."""
    said = os.environ.get(VARIABLE) or "on"
    if said not in {"on", "off"}:
        raise OptionError(explained(VARIABLE, needed="'on' or 'off'", got=repr(said)))
    return said == "on"


def start_crew(workers: int, surroundings: Surroundings, log: IO[bytes] | int) -> Crew:
    """Start the processes of a job, of which they are told nothing yet. Raises OSError.

    Parameters
    ----------
    workers
        How many.
    surroundings
        Those of now.
    log
        Where they print until they are told.
    """
    command = [*COORDINATOR, str(home()), str(workers)]
    return Crew(workers, surroundings, Standby.start(command, surroundings.environment, log))


def warm_up(*, at_work: bool = False) -> None:
    """Have spares started for a first job, which will need what most need; nothing if there was one already.

    Parameters
    ----------
    at_work
        Whether this process needs a processor itself meanwhile, so that there is one worker less to start.
    """
    # Who starts a job is told if the environment variable makes no sense.
    with contextlib.suppress(OptionError):
        SPARES.expect_first(max(1, default_parallelism() - at_work))


SPARES = Spares()
"""Those of this process."""
atexit.register(SPARES.close)
os.register_at_fork(after_in_child=SPARES.forget)
