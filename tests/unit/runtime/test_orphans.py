"""Processes whose parents have died: their new parent is somebody else, whom nobody may take for the old one."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest

from streamlab.runtime import watchdog
from streamlab.runtime.watchdog import Watchdog


@pytest.mark.parametrize(("parent", "killed"), [(4_711, [4_711]), (1, [])])
def test_a_worker_without_a_coordinator_ends_that_one_and_nobody_else(monkeypatch, parent, killed):
    ended, left = [], []
    monkeypatch.setattr(watchdog.os, "getppid", lambda: parent)
    monkeypatch.setattr(watchdog.os, "kill", lambda pid, number: ended.append((pid, number)))
    monkeypatch.setattr(watchdog, "kill_group", left.append)
    monkeypatch.setattr(watchdog.os, "_exit", left.append)
    options = SimpleNamespace(checkpoint_every_ms=100)
    Watchdog._orphaned(SimpleNamespace(_coordinator=4_711, _meta=SimpleNamespace(options=options)), "it is gone")
    assert set(ended) == {(pid, signal.SIGKILL) for pid in killed}
    assert left == [os.getpid(), 1]
