"""The guardian of a job, with coordinators that only say how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import pytest

from streamlab.runtime import guardian as module
from streamlab.runtime.guardian import CLIENT_ENDED, DEFECT, DISMISSED, FOLLOWED, GUARDIAN, NO_CLIENT, Guardian

KEY = bytes(range(32))
KILLED = -signal.SIGKILL


@dataclass
class Coordinator:
    """One that has ended already, or ends when it is told that the client has."""

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

    client: int
    pipe: int
    codes: list[int | None] = field(default_factory=list)
    deaf: bool = False
    folder: str = "folder"
    started: list[Coordinator] = field(default_factory=list)
    slept_s: list[float] = field(default_factory=list)
    followed: list[bool] = field(default_factory=list)
    hearing: list[bool] = field(default_factory=list)
    """Which of them are told when the client ends."""
    now_s: float = 0.0
    lives_s: float = 1.0

    def start(self, command: list[str], **options: object) -> Coordinator:
        at = command.index("streamlab.runtime.supervisor")
        assert command[at + 1] == self.folder
        assert command[at + 2] == f"{GUARDIAN}{os.getpid()}"
        self.followed.append(FOLLOWED in command)
        self.hearing.append(NO_CLIENT not in command)
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


def run(world: World, *, detached: bool = False) -> int:
    return Guardian("folder", world.pipe, detached=detached).run()


def end_client(world: World) -> None:
    os.close(world.client)


@pytest.mark.parametrize("code", [0, 1])
def test_a_coordinator_that_ends_by_itself_is_the_end(world, code):
    world.codes = [code]
    assert run(world) == code
    assert world.started[0].heard() == KEY
    end_client(world)


def test_a_killed_coordinator_is_followed_by_another_with_the_same_key(world):
    world.codes = [KILLED, KILLED, 0]
    assert run(world) == 0
    assert [one.heard() for one in world.started] == [KEY] * 3
    assert world.slept_s == [0.1, 0.2]
    end_client(world)


def test_after_many_deaths_in_a_row_it_gives_up(world):
    world.codes = [KILLED] * 50
    assert run(world) == KILLED
    assert len(world.started) == 11
    assert world.slept_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
    for one in world.started:
        assert one.heard() == KEY
    end_client(world)


def test_one_that_fails_is_followed_by_another_until_one_is_told_to_say_so(world):
    world.codes = [DEFECT] * 5 + [1]
    assert run(world) == 1
    assert world.followed == [True] * 5 + [False]
    for one in world.started:
        assert one.heard() == KEY
    end_client(world)


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
    assert Guardian(str(tmp_path), world.pipe, detached=False, patience_s=5.0).run() == 0
    assert len(world.started) == (1 if writes else 2)
    for one in world.started:
        assert one.heard() == KEY
    end_client(world)


def test_deaths_far_apart_do_not_add_up(world, monkeypatch):
    world.codes = [KILLED] * 30 + [0]
    # A coordinator lives from when it was started to when its end is seen.
    monkeypatch.setattr(module, "_STABLE_S", 0.5)
    assert run(world) == 0
    assert set(world.slept_s) == {0.1}
    assert [one.heard() for one in world.started] == [KEY] * 31
    end_client(world)


@pytest.mark.parametrize("first", [[], [KILLED]])
def test_a_coordinator_is_told_that_the_client_has_ended(world, first):
    world.codes = [*first, None, 0]
    end_client(world)
    assert run(world) == 0
    assert world.started[-1].heard() == KEY + CLIENT_ENDED
    assert len(world.started) == 1 + len(first)
    for one in world.started[:-1]:
        assert one.heard() == KEY


def test_a_coordinator_that_dies_before_it_takes_the_key_is_followed_by_another(world):
    """What could not be written is written again when the pipe is closed, and fails again."""
    world.deaf = True
    world.codes = [KILLED, KILLED, 0]
    assert run(world) == 0
    assert len(world.started) == 3
    end_client(world)


def test_a_successor_ends_with_its_job(world):
    os.write(world.client, DISMISSED)
    end_client(world)
    assert Guardian("folder", world.pipe, detached=False, follows=os.getpid()).run() == 0
    assert world.started == []


def test_a_successor_goes_on_when_the_coordinator_that_it_follows_has_died(world):
    world.codes = [KILLED, 0]
    end_client(world)
    assert Guardian("folder", world.pipe, detached=False, follows=os.getpid()).run() == 0
    assert [one.heard() for one in world.started] == [KEY] * 2
    assert world.hearing == [False] * 2


def test_a_successor_ends_a_coordinator_that_writes_no_status_for_too_long(world, monkeypatch, tmp_path):
    killed = []

    def kill(pid: int, number: int) -> None:
        killed.append((pid, number))
        end_client(world)

    def look(*_: object) -> tuple[list[int], list[int], list[int]]:
        world.now_s += 0.5
        return ([world.pipe] if killed else []), [], []

    monkeypatch.setattr(module.os, "kill", kill)
    monkeypatch.setattr(module.select, "select", look)
    world.codes = [0]
    world.folder = str(tmp_path)
    assert Guardian(str(tmp_path), world.pipe, detached=True, patience_s=5.0, follows=4_711).run() == 0
    assert killed == [(4_711, signal.SIGKILL)]
    assert world.started[0].heard() == KEY


def test_without_a_key_there_is_no_job(world):
    os.read(world.pipe, 32)
    end_client(world)
    with pytest.raises(SystemExit, match="handed over"):
        run(world)
    assert world.started == []
