"""What a panel has told its user: outcomes of commands and errors, newest last."""

from __future__ import annotations

import threading
import time
from typing import Any

from streamlab.observe.preview import plain

_KEPT = 100


class Sayings:
    """A short list that any thread may add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[dict[str, Any]] = []
        self._count = 0

    def add(self, text: str, *, error: bool = False) -> None:
        """Add a line; nothing when there is nothing to say."""
        if not text:
            return
        with self._lock:
            self._count += 1
            lines = "\n".join(plain(line) for line in text.split("\n"))
            self._all.append({"n": self._count, "at_s": round(time.time(), 1), "text": lines, "error": error})
            del self._all[:-_KEPT]

    @property
    def newest(self) -> dict[str, Any] | None:
        """The newest line."""
        with self._lock:
            return self._all[-1] if self._all else None

    @property
    def all(self) -> list[dict[str, Any]]:
        """All that are kept, newest last."""
        with self._lock:
            return list(self._all)
