"""The one thread of a kernel that draws live views, a few times a second."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from IPython.core.interactiveshell import InteractiveShell

TICK_S = 0.2
"""How often views are drawn."""
SOONEST_S = 0.1
"""How soon a click may have views drawn again: ten times a second at most."""
EAGER_S = 0.03
"""How often they are drawn while somebody waits for first rows."""


_ATTRIBUTE = "_streamlab_pump"


class View(Protocol):
    """Something to keep up to date."""

    ended: bool

    @property
    def is_new(self) -> bool:
        """Whether somebody waits for its first rows."""
        ...

    def tick(self) -> None:
        """Draw what is new."""
        ...

    def fail(self, error: Exception) -> None:
        """Draw no more, and say why."""
        ...


class Pump:
    """Visits all views; states in between are skipped, and one view that cannot be drawn does not end the others."""

    def __init__(self) -> None:
        self._views: list[View] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._stopped = threading.Event()
        """Set when the pump is stopped for good."""

    def add(self, view: View) -> None:
        """Keep a view up to date until it has ended."""
        with self._lock:
            self._views.append(view)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="streamlab-live-views", daemon=True)
                self._thread.start()

    def tick(self, *_: Any) -> None:
        """Draw all views once, and let go of those that are done."""
        with self._lock:
            views = list(self._views)
        for view in views:
            self._draw(view)
        with self._lock:
            self._views = [view for view in self._views if not view.ended]

    def wake(self) -> None:
        """Draw soon, since something was clicked."""
        self._woken.set()

    def stop(self) -> None:
        """Let go of all views; the thread ends by itself."""
        self._stopped.set()
        self._woken.set()
        with self._lock:
            self._views = []

    def _draw(self, view: View) -> None:
        try:
            view.tick()
        except Exception as error:
            # One view that cannot be drawn, for instance because its job's folder is gone, must not end the others.
            view.fail(error)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._views or self._stopped.is_set():
                    self._thread = None
                    return
                is_awaited = any(view.is_new for view in self._views)
            self.tick()
            if is_awaited:
                self._stopped.wait(EAGER_S)
            else:
                self._stopped.wait(SOONEST_S)
                self._woken.wait(TICK_S - SOONEST_S)
            self._woken.clear()


def shared_pump(shell: InteractiveShell) -> Pump:
    """Return the pump of a shell; also drawn at the end of each cell."""
    pump: Pump | None = getattr(shell, _ATTRIBUTE, None)
    if pump is None:
        pump = Pump()
        setattr(shell, _ATTRIBUTE, pump)
        shell.events.register("post_run_cell", pump.tick)
    return pump


def stop_shared_pump(shell: InteractiveShell) -> None:
    """Draw nothing of a shell any more."""
    pump: Pump | None = getattr(shell, _ATTRIBUTE, None)
    if pump is not None:
        delattr(shell, _ATTRIBUTE)
        shell.events.unregister("post_run_cell", pump.tick)
        pump.stop()
