"""The guardian of a job: the first coordinator is a pipe, those that follow only say how they end."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import pytest

from streamlab.runtime.supervisor import guardian as module
from streamlab.runtime.supervisor.guardian import DEFECT, FOLLOWED, GUARDIAN, Guardian

KEY = bytes(range(32))
KILLED = -signal.SIGKILL
FIRST = 4_711
"""Number of the first coordinator."""


@dataclass
class Coordinator:
    """One that has ended already, or ends when its guardian ends it."""

    code: int | None
    stdin: BinaryIO
    reading: int | None

    def poll(self) -> int | None:
        return self.code

    def wait(self) -> int:
        return 0 if self.code is None else self.code

    def terminate(self) -> None:
        self.code = 0

    def kill(self) -> None:
        self.code = KILLED

    def heard(self) -> bytes:
        assert self.reading is not None
        said = os.read(self.reading, 100)
        os.close(self.reading)
        return said


@dataclass
class World:
    """Where the guardian runs: how its coordinators will end, which there were, how long it has waited."""

    first: int
    """The first coordinator's end of the pipe."""
    pipe: int
    codes: list[int | None] = field(default_factory=list)
    deaf: bool = False
    folder: str = "folder"
    started: list[Coordinator] = field(default_factory=list)
    slept_s: list[float] = field(default_factory=list)
    followed: list[bool] = field(default_factory=list)
    now_s: float = 0.0
    lives_s: float = 1.0

    def start(self, command: list[str], **options: object) -> Coordinator:
        at = command.index("streamlab.runtime.supervisor.supervisor")
        assert command[at + 1] == self.folder
        assert command[at + 2] == f"{GUARDIAN}{os.getpid()}"
        self.followed.append(FOLLOWED in command)
        reading, writing = os.pipe()
        if self.deaf:
            os.close(reading)
        self.now_s += self.lives_s
        coordinator = Coordinator(self.codes.pop(0), os.fdopen(writing, "wb"), None if self.deaf else reading)
        self.started.append(coordinator)
        return coordinator

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


@pytest.fixture
def world(monkeypatch) -> Iterator[World]:
    """Stand in for processes and clocks; signal handlers are put back."""
    numbers = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    woken = signal.set_wakeup_fd(-1)
    reading, writing = os.pipe()
    os.write(writing, KEY)
    stage = World(writing, reading)
    monkeypatch.setattr(module.subprocess, "Popen", stage.start)
    monkeypatch.setattr(module.time, "sleep", stage.sleep)
    monkeypatch.setattr(module.time, "monotonic", lambda: stage.now_s)
    yield stage
    signal.set_wakeup_fd(woken)
    for number, handler in before.items():
        signal.signal(number, handler)
    os.close(reading)


def run(world: World, folder: str = "folder", patience_s: float = math.inf) -> int:
    """Run a guardian whose first coordinator has died."""
    first_dies(world)
    return Guardian(folder, world.pipe, FIRST, patience_s).run()


def first_dies(world: World) -> None:
    os.close(world.first)


@pytest.mark.parametrize("code", [0, 1])
def test_a_coordinator_that_ends_by_itself_is_the_end(world, code):
    world.codes = [code]
    assert run(world) == code
    assert world.started[0].heard() == KEY


def test_a_killed_coordinator_is_followed_by_another_with_the_same_key(world):
    world.codes = [KILLED, KILLED, 0]
    assert run(world) == 0
    assert [one.heard() for one in world.started] == [KEY] * 3
    assert world.slept_s == [0.1, 0.2, 0.4]


def test_after_many_deaths_in_a_row_it_gives_up(world):
    world.codes = [KILLED] * 50
    assert run(world) == KILLED
    assert len(world.started) == 10
    assert world.slept_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
    for one in world.started:
        assert one.heard() == KEY


def test_one_that_fails_is_followed_by_another_until_one_is_told_to_say_so(world):
    world.codes = [DEFECT] * 4 + [1]
    assert run(world) == 1
    assert world.followed == [True] * 4 + [False]
    for one in world.started:
        assert one.heard() == KEY


@pytest.mark.parametrize("writes", [True, False])
def test_one_that_writes_no_status_for_too_long_is_ended(world, monkeypatch, tmp_path, writes):
    (tmp_path / "status.json").touch()
    looks = iter(range(40))

    def pass_time(self: Guardian) -> None:
        world.now_s += 0.5
        at = next(looks, None)
        if writes:
            os.utime(tmp_path / "status.json", ns=(0, int(world.now_s * 1e9)))
        if at is None:
            world.started[-1].code = 0

    monkeypatch.setattr(Guardian, "_wait", pass_time)
    world.codes = [None, 0]
    world.folder = str(tmp_path)
    assert run(world, str(tmp_path), 5.0) == 0
    assert len(world.started) == (1 if writes else 2)
    for one in world.started:
        assert one.heard() == KEY


def test_deaths_far_apart_do_not_add_up(world, monkeypatch):
    world.codes = [KILLED] * 30 + [0]
    # A coordinator lives from when it was started to when its end is seen.
    monkeypatch.setattr(module, "_STABLE_S", 0.5)
    assert run(world) == 0
    assert set(world.slept_s) == {0.1}
    assert [one.heard() for one in world.started] == [KEY] * 31


def test_a_coordinator_that_dies_before_it_takes_the_key_is_followed_by_another(world):
    """What could not be written is written again when the pipe is closed, and fails again."""
    world.deaf = True
    world.codes = [KILLED, KILLED, 0]
    assert run(world) == 0
    assert len(world.started) == 3


def test_a_first_coordinator_that_writes_no_status_for_too_long_is_ended(world, monkeypatch, tmp_path):
    killed = []

    def kill(pid: int, number: int) -> None:
        killed.append((pid, number))
        first_dies(world)

    def look(*_: object) -> tuple[list[int], list[int], list[int]]:
        world.now_s += 0.5
        return ([world.pipe] if killed else []), [], []

    monkeypatch.setattr(module.os, "kill", kill)
    monkeypatch.setattr(module.select, "select", look)
    world.codes = [0]
    world.folder = str(tmp_path)
    assert Guardian(str(tmp_path), world.pipe, FIRST, 5.0).run() == 0
    assert killed == [(FIRST, signal.SIGKILL)]
    assert world.started[0].heard() == KEY


def test_without_a_key_there_is_no_job(world):
    os.read(world.pipe, 32)
    with pytest.raises(SystemExit, match="handed over"):
        run(world)
    assert world.started == []
