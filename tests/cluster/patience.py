"""Waiting for what will happen soon, without saying when."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 100


def eventually(condition: Callable[[], object], what: str | Callable[[], str]) -> None:
    """Wait until the condition holds; fail, and say what did not happen, when it does not for a long time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {what if isinstance(what, str) else what()}"
        time.sleep(0.01)
