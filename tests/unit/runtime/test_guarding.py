"""A coordinator whose guardian dies, with a real process in the guardian's place."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamlab.core.options import JobOptions
from streamlab.runtime.supervisor import guardian_watch as module
from streamlab.runtime.supervisor.guardian_watch import Guarding, guardian_command

KEY = bytes(range(32))
NOTES = "import sys, pathlib; i = sys.stdin.buffer; pathlib.Path(sys.argv[1]).write_bytes(i.read(32)); i.read()"
GONE = os.getppid() + 1


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def heard(tmp_path, monkeypatch) -> Path:
    """Return where the guardian writes the key that it was told; it ends with its pipe."""
    path = tmp_path / "heard"
    command = [sys.executable, "-c", NOTES, str(path)]
    monkeypatch.setattr(module, "guardian_command", lambda *_: command)
    return path


def wait_for_key(heard: Path) -> None:
    deadline = time.monotonic() + 60.0
    while not heard.exists() or heard.read_bytes() != KEY:
        assert time.monotonic() < deadline, "the guardian was not told the key"
        time.sleep(0.01)


@pytest.fixture
def new(tmp_path) -> Iterator:
    made: list[Guarding] = []

    def guarding(parent: int, *, wanted: bool = True) -> Guarding:
        made.append(Guarding(tmp_path, JobOptions(name="job"), parent, wanted=wanted))
        return made[-1]

    yield guarding
    for one in made:
        one.dismiss()


def test_a_guardian_that_lives_is_the_parent(new, clock, heard):
    guarding = new(os.getppid())
    assert not guarding.renew(KEY)
    assert guarding.process is not None
    assert guarding.process.pid == os.getppid()


def test_a_coordinator_that_a_client_has_started_starts_one(new, clock, heard):
    guarding = new(0)
    assert guarding.process is None
    assert guarding.renew(KEY)
    assert not guarding.renew(KEY)
    wait_for_key(heard)


def test_a_job_that_cannot_be_recovered_has_none(new, clock, heard):
    guarding = new(0, wanted=False)
    assert not guarding.renew(KEY)
    assert guarding.process is None


def test_one_that_has_gone_is_followed_by_a_successor_until_it_is_dismissed(new, clock, heard):
    guarding = new(GONE)
    assert guarding.process is None
    assert guarding.renew(KEY)
    assert not guarding.renew(KEY)
    assert guarding.process is not None
    assert guarding.process.is_alive
    first = guarding.process
    wait_for_key(heard)
    guarding.dismiss()
    assert not first.is_alive
    assert guarding.process is None
    assert not guarding.renew(KEY)


def test_successors_that_die_are_replaced_once_a_second_and_ten_times_in_all(new, clock, monkeypatch):
    monkeypatch.setattr(module, "guardian_command", lambda *_: [sys.executable, "-c", ""])
    guarding, started = new(GONE), 0
    for _ in range(30):
        started += guarding.renew(KEY)
        assert guarding._successor is not None
        guarding._successor.wait()
        assert not guarding.renew(KEY)
        clock.now_s += 1.0
    assert started == 10


def test_what_cannot_be_started_is_tried_again(new, clock, heard, monkeypatch, capfd):
    guarding = new(GONE)
    with monkeypatch.context() as patched:
        patched.setattr(module, "guardian_command", lambda *_: ["/nowhere/python"])
        assert not guarding.renew(KEY)
    clock.now_s += 1.0
    assert guarding.renew(KEY)
    assert "no guardian can be started" in "".join(capfd.readouterr())


def test_a_guardian_knows_how_long_silence_may_last_and_whom_it_follows(tmp_path):
    command = guardian_command(tmp_path, JobOptions(name="job", heartbeat_timeout_ms=20_000), 4_711)
    assert {"--patience=30", "--follows=4711"} <= set(command)
