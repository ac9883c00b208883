"""How a source that discovers splits is asked for new ones while it is read.

A *finder* (:class:`SplitFinder`) belongs to the source. It remembers what it has found, so that a look costs what is
new. A *discovery* decides when it is asked, and hands over to the reader what came of it:

- :class:`Discovery` asks in the reader's own turn, by the reader's own clock: for tests, simulations, steps by hand.
- :class:`BackgroundDiscovery` asks in a thread of its own, so that a slow disk or server holds up no batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue

from streamlab.connectors.contracts.source import Split, SplitFinder
from streamlab.core.event_time.time import MIN_TIME_US

LOOK_EVERY_US = 250_000
"""How often a source is asked for new splits."""
_PAUSE_FACTOR = 50
"""A look is followed by a pause so many times as long as the processor was busy with it..."""
_LONGEST_PAUSE_S = 1.0
"""... but by no longer one than this, in which a new file is to be found."""
_LAST_LOOK_S = 2.0
"""For so long the end of a look is waited for when no more are wanted."""


class Discovery:
    """Asks a finder in the reader's own turn.

    Parameters
    ----------
    finder
        Of the source.
    """

    look_every_us = LOOK_EVERY_US
    """How often it asks."""

    def __init__(self, finder: SplitFinder) -> None:
        self._finder = finder
        self.next_look_us = MIN_TIME_US
        """The reader's clock when :meth:`found` is worth a call."""

    def found(self, now_us: int) -> Sequence[Split]:
        """Return the splits that have appeared, if it is time to look.

        Raises
        ------
        SourceError
            If the source cannot tell.
        """
        if self.next_look_us - self.look_every_us <= now_us < self.next_look_us:
            return []
        self.next_look_us = now_us + self.look_every_us
        return self._look()

    def found_now(self, now_us: int) -> Sequence[Split]:
        """Look at once, and return the splits that have appeared. Raises as :meth:`found`."""
        self.next_look_us = now_us + self.look_every_us
        return self._finder.find()

    def close(self) -> None:
        """Look no more. May be called more than once."""

    def _look(self) -> Sequence[Split]:
        return self._finder.find()


class BackgroundDiscovery(Discovery):
    """Asks a finder in a thread, which begins with the first call."""

    def __init__(self, finder: SplitFinder) -> None:
        super().__init__(finder)
        self._asking = threading.Lock()
        """Held while the finder is asked."""
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._answers: SimpleQueue[Sequence[Split] | Exception] = SimpleQueue()

    def found_now(self, now_us: int) -> Sequence[Split]:
        """Look at once, after the look that is under way."""
        with self._asking:
            return [*self._answered(), *super().found_now(now_us)]

    def close(self) -> None:
        """End the thread; what a look that is under way finds is dropped."""
        self._closed.set()
        if self._thread is not None:
            # A disk that does not answer must not keep the process: it is a daemon.
            self._thread.join(_LAST_LOOK_S)

    def _look(self) -> Sequence[Split]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="split discovery", daemon=True)
            self._thread.start()
        return self._answered()

    def _answered(self) -> list[Split]:
        found: list[Split] = []
        while not self._answers.empty():
            answer = self._answers.get()
            if isinstance(answer, Exception):
                raise answer
            found += answer
        return found

    def _run(self) -> None:
        pause_s = 0.0
        while not self._closed.wait(pause_s):
            began_s = time.thread_time()
            try:
                with self._asking:
                    found = self._finder.find()
                if found:
                    self._answers.put(found)
            except Exception as error:  # whatever it is, the reader raises it
                self._answers.put(error)
            took_s = time.thread_time() - began_s
            pause_s = max(self.look_every_us / 1e6, min(took_s * _PAUSE_FACTOR, _LONGEST_PAUSE_S))
