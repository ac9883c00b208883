"""The processes that this session keeps ready for its next jobs, so that a job need not wait for imports.

A spare is a coordinator, with its guardian if the last job had one, and as many workers as the last job had; all of
them have imported everything, know nothing of any job, and wait (see `standby`). The next job that is started in the
same surroundings (environment, current folder, limits, where modules are found) takes them. Which spares there are to
be, the `spare_pool` says; a thread of this process starts and ends them. The processes of a job without checkpoints
that has ended well, and in which no code but streamlab's own and Polars' has run, are spares again (see `untouched`).

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
from streamlab.runtime.folder import home
from streamlab.runtime.guardian import STANDBY
from streamlab.runtime.guarding import COMMAND as GUARDIAN
from streamlab.runtime.spare_pool import Crew, SparePool
from streamlab.runtime.standby import COORDINATOR, Standby
from streamlab.runtime.surroundings import Surroundings

VARIABLE = "STREAMLAB_SPARES"
_AFTER_START_S = 1.0
"""How long after the start of a job its replacement is started: until then the job needs the processors itself."""
_RETURN_S = 2.0
"""How long the processes of a job that has ended may take to be ready for another one."""


@dataclass(frozen=True)
class StartedCrew:
    """The processes of a job, or of one that is to come.

    Attributes
    ----------
    crew : Crew
        Which.
    surroundings : Surroundings
        Those in which they were started.
    root : Standby
        The process that has started the others.
    """

    crew: Crew
    surroundings: Surroundings
    root: Standby


class Spares:
    """The spares of this process."""

    def __init__(self) -> None:
        self._pool = SparePool()
        self._held: list[StartedCrew] = []
        self._changed = threading.Condition()
        self._keeper: threading.Thread | None = None
        self._starts_s = 0.0
        self._jobs = 0

    def take(self, crew: Crew, surroundings: Surroundings) -> StartedCrew | None:
        """Return a crew that a job can have, and have another one started later; None when there is none.

        Parameters
        ----------
        crew
            What the job needs; workers that a spare has not are started by its coordinator.
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
            fitting = [s for s in self._held if s.crew.guarded == crew.guarded and s.surroundings == surroundings]
            taken = next((spare for spare in fitting if not spare.root.has_ended), None)
            if taken is not None:
                self._held.remove(taken)
            self._jobs += 1
            self._expect(crew, _AFTER_START_S)
        # Its coordinator starts the workers that are missing, and ends those that are not needed.
        return None if taken is None else replace(taken, crew=crew)

    def expect(self, crew: Crew) -> None:
        """Have a spare started now, for a job that will come."""
        if is_on():
            with self._changed:
                self._expect(crew, 0.0)

    def take_back(self, started: StartedCrew) -> bool:
        """Keep the crew of a job that has ended, if it waits for another one; return whether it is kept."""
        root = started.root
        deadline = time.monotonic() + _RETURN_S
        while not root.is_ready:
            if not root.listen(_RETURN_S) or time.monotonic() > deadline:
                return False
        with self._changed:
            others = [spare for spare in self._held if spare.crew.guarded == started.crew.guarded]
            if not is_on() or any(spare.root.is_ready for spare in others):
                return False
            self._held = [spare for spare in self._held if spare not in others] + [started]
            self._changed.notify()
        _end(others)
        return True

    def job_ended(self) -> None:
        """Have what is missing started now: a job needs the processors no longer. A single job may be the only one."""
        with self._changed:
            if self._jobs > 1:
                self._starts_s = 0.0
                self._changed.notify()

    def close(self) -> None:
        """End all spares, and wait until they are gone."""
        with self._changed:
            self._pool = SparePool()
            held, self._held = self._held, []
            self._changed.notify()
        _end(held)

    def forget(self) -> None:
        """Let go of spares that belong to the process that this one was forked from."""
        for spare in self._held:
            spare.root.close()
        self.__init__()  # type: ignore[misc]

    def _expect(self, crew: Crew, delay_s: float) -> None:
        now = time.monotonic()
        self._pool.expect(crew, now)
        self._starts_s = now + delay_s
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="streamlab-spares", daemon=True)
            self._keeper.start()
        self._changed.notify()

    def _keep(self) -> None:
        """Start and end spares until none are wanted any more."""
        while True:
            with self._changed:
                now = time.monotonic()
                surroundings = Surroundings.now()
                ending = [s for s in self._held if s.root.has_ended or s.surroundings != surroundings]
                self._held = [s for s in self._held if s not in ending]
                for crew in self._pool.surplus([s.crew for s in self._held], now):
                    surplus = next(s for s in self._held if s.crew == crew)
                    self._held.remove(surplus)
                    ending.append(surplus)
                wait_s = self._starts_s - now
                missing = self._pool.missing([s.crew for s in self._held], now) if wait_s <= 0 else set()
                if not ending and not missing:
                    until_s = wait_s if wait_s > 0 else self._pool.until_change_s(now)
                    if until_s is None and not self._held:
                        self._keeper = None
                        return
                    self._changed.wait(until_s)
            _end(ending)
            for crew in missing:
                self._start(crew, surroundings)

    def _start(self, crew: Crew, surroundings: Surroundings) -> None:
        try:
            started = start_crew(crew, surroundings, subprocess.DEVNULL)
        except OSError:
            # Nobody has asked for it. The next job says why no process can be started.
            self.close()
            return
        with self._changed:
            self._held.append(started)


def is_on() -> bool:
    """Return whether there are to be spares. Raises OptionError if the environment variable says neither."""
    said = os.environ.get(VARIABLE) or "on"
    if said not in {"on", "off"}:
        raise OptionError(explained(VARIABLE, needed="'on' or 'off'", got=repr(said)))
    return said == "on"


def start_crew(crew: Crew, surroundings: Surroundings, log: IO[bytes] | int) -> StartedCrew:
    """Start the processes of a job, of which they are told nothing yet. Raises OSError.

    Parameters
    ----------
    crew
        Which.
    surroundings
        Those of now.
    log
        Where they print until they are told.
    """
    workers = str(crew.workers)
    command = [*GUARDIAN, str(home()), f"{STANDBY}{workers}"] if crew.guarded else [*COORDINATOR, str(home()), workers]
    return StartedCrew(crew, surroundings, Standby.start(command, surroundings.environment, log))


def _end(spares: list[StartedCrew]) -> None:
    for spare in spares:
        with contextlib.suppress(ProcessLookupError):
            spare.root.process.terminate()
    for spare in spares:
        spare.root.end()


SPARES = Spares()
"""Those of this process."""
atexit.register(SPARES.close)
os.register_at_fork(after_in_child=SPARES.forget)
