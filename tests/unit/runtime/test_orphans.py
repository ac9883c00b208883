"""Processes whose parents have died: their new parent is somebody else, whom nobody may take for the old one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from streamlab.runtime.worker import watchdog
from streamlab.runtime.worker.watchdog import Watchdog


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


LETS_GO = """
import os
from streamlab.runtime.process.worker_start import start_worker
worker = start_worker("nobody's")
os.set_blocking(worker.events_fd, True)
os.read(worker.events_fd, 1)
os.close(worker.commands_fd)
print(worker.process.wait())
"""


def test_a_worker_without_a_job_that_is_let_go_ends_itself_alone():
    told = subprocess.run([sys.executable, "-c", LETS_GO], capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout) == (0, "1\n"), told.stderr
