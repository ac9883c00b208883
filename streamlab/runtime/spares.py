"""The processes that this session keeps ready for its next jobs, so that a job need not wait for imports.

A spare is a coordinator, with its guardian if the last job had one, and as many workers as the last job had; all of
them have imported everything, have read nothing of any job, and wait (see `standby`). The next job that is started in
the same surroundings (environment, current folder, limits, where modules are found) takes them. Which spares there are
to be, the `spare_pool` says; a thread of this process starts and ends them.

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
from dataclasses import dataclass
from typing import IO

from streamlab.core.errors import OptionError, explained
from streamlab.runtime.coordinator_process import COMMAND as COORDINATOR
from streamlab.runtime.folder import home
from streamlab.runtime.guardian import STANDBY
from streamlab.runtime.guarding import COMMAND as GUARDIAN
from streamlab.runtime.spare_pool import Crew, SparePool
from streamlab.runtime.standby import Standby
from streamlab.runtime.surroundings import Surroundings

VARIABLE = "STREAMLAB_SPARES"
_AFTER_START_S = 1.0
"""How long after the start of a job its replacement is started: until then the job needs the processors itself."""


@dataclass(frozen=True)
class _Spare:
    """One spare crew."""

    crew: Crew
    surroundings: Surroundings
    root: Standby
    """The process that has started the others."""


class Spares:
    """The spares of this process."""

    def __init__(self) -> None:
        self._pool = SparePool()
        self._held: list[_Spare] = []
        self._changed = threading.Condition()
        self._keeper: threading.Thread | None = None
        self._starts_s = 0.0
        self._jobs = 0

    def take(self, crew: Crew, surroundings: Surroundings) -> Standby | None:
        """Return the root of a crew that a job can have, and have another one started later; None when there is none.

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
        return None if taken is None else taken.root

    def expect(self, crew: Crew) -> None:
        """Have a spare started now, for a job that will come."""
        if is_on():
            with self._changed:
                self._expect(crew, 0.0)

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
                alive = [spare for spare in self._held if not spare.root.has_ended]
                surroundings = Surroundings.now()
                surplus = self._pool.surplus([s.crew for s in alive], now)
                ending = [s for s in alive if s.surroundings != surroundings]
                for crew in surplus:
                    ending += [s for s in alive if s.crew == crew and s not in ending][:1]
                self._held = [s for s in alive if s not in ending]
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
            root = start_crew(crew, surroundings, subprocess.DEVNULL)
        except OSError:
            # Nobody has asked for it. The next job says why no process can be started.
            self.close()
            return
        with self._changed:
            self._held.append(_Spare(crew, surroundings, root))


def is_on() -> bool:
    """Return whether there are to be spares. Raises OptionError if the environment variable says neither."""
    said = os.environ.get(VARIABLE) or "on"
    if said not in {"on", "off"}:
        raise OptionError(explained(VARIABLE, needed="'on' or 'off'", got=repr(said)))
    return said == "on"


def start_crew(crew: Crew, surroundings: Surroundings, log: IO[bytes] | int) -> Standby:
    """Start the processes of a job, of which they are told nothing yet, and return the first of them. Raises OSError.

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
    return Standby.start(command, surroundings.environment, log)


def _end(spares: list[_Spare]) -> None:
    for spare in spares:
        with contextlib.suppress(ProcessLookupError):
            spare.root.process.terminate()
    for spare in spares:
        spare.root.end()


SPARES = Spares()
"""Those of this process."""
atexit.register(SPARES.close)
os.register_at_fork(after_in_child=SPARES.forget)
