"""Carries out what was clicked, one after the other, in a thread of its own.

Callbacks of the front end come on whichever thread the kernel chooses, perhaps between cells and perhaps beside one, so
they only put commands here. What a command has to say, an error included, is told to whoever queued it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Told = Callable[[str, Exception | None], None]
"""Called with a command's text, or with its error."""
_REST_S = 5.0
"""How long the thread waits for another command before it ends."""


class Commands:
    """A queue of commands and the thread that carries them out; the thread lives while there is something to do."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[], str], Told]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._thread: threading.Thread | None = None

    def put(self, command: Callable[[], str], told: Told) -> None:
        """Have a command carried out, and what it returns told."""
        with self._lock:
            self._waiting += 1
            self._queue.put((command, told))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="streamlab-commands", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                command, told = self._queue.get(timeout=_REST_S)
            except queue.Empty:
                with self._lock:
                    if self._waiting == 0:
                        self._thread = None
                        return
                continue
            try:
                text = command()
            except Exception as error:  # whatever it is, it belongs to who clicked
                told("", error)
            else:
                told(text, None)
            with self._lock:
                self._waiting -= 1
