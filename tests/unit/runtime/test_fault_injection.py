"""Planned faults: only where, when and as often as somebody has said."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamlab.core.failpoints import arm, reach
from streamlab.runtime.process import fault_injection
from streamlab.runtime.process.fault_injection import VARIABLE, InjectedFaultError, PlannedFault, arm_from_environment


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def test_a_fault_happens_at_its_hit_once_whatever_is_started_again(folder):
    fault = PlannedFault("worker", "sink.commit", "raise", 2)
    fault.plant(folder)
    arm_from_environment("worker-0")
    reach("sink.commit")
    reach("sink.write")
    assert fault.fired(folder) is None
    with pytest.raises(InjectedFaultError, match=r"sink\.commit"):
        reach("sink.commit")
    assert fault.fired(folder) > 0
    for _ in range(3):
        reach("sink.commit")
    arm_from_environment("worker-1")
    for _ in range(3):
        reach("sink.commit")


def test_of_two_processes_the_first_one_is_hit(folder, monkeypatch):
    PlannedFault("worker", "sink.commit", "raise").plant(folder)
    arm_from_environment("worker-0")
    (folder / "worker,sink.commit,raise,1").rename(folder / "fired,worker,sink.commit,raise,1")
    reach("sink.commit")


def test_two_faults_at_one_place_happen_one_after_the_other(folder):
    faults = [PlannedFault(process, "sink.commit", "raise", 2) for process in ("worker", "worker-0")]
    for fault in faults:
        fault.plant(folder)
    arm_from_environment("worker-0")
    reach("sink.commit")
    for _ in faults:
        with pytest.raises(InjectedFaultError):
            reach("sink.commit")
    reach("sink.commit")
    assert all(fault.fired(folder) for fault in faults)


@pytest.mark.parametrize(
    ("planned", "process", "is_hit"),
    [
        ("worker", "worker-1", True),
        ("worker-1", "worker-1", True),
        ("worker-0", "worker-1", False),
        ("coordinator", "worker-1", False),
        ("coordinator", "coordinator", True),
    ],
)
def test_only_the_process_that_was_meant(folder, planned, process, is_hit):
    fault = PlannedFault(planned, "state.write", "raise")
    fault.plant(folder)
    arm_from_environment(process)
    if is_hit:
        with pytest.raises(InjectedFaultError):
            reach("state.write")
    else:
        reach("state.write")
    assert (fault.fired(folder) is not None) == is_hit


def test_a_kill_is_a_sigkill_and_is_on_record_before(folder, monkeypatch):
    fault = PlannedFault("worker", "state.write", "kill")
    fault.plant(folder)
    arm_from_environment("worker-0")
    sent = []

    class Gone(BaseException):
        """Stands for the end of the process."""

    def kill(pid: int, number: int) -> None:
        sent.append((pid, number, fault.fired(folder) is not None))
        raise Gone

    monkeypatch.setattr(os, "kill", kill)
    with pytest.raises(Gone):
        reach("state.write")
    assert sent == [(os.getpid(), signal.SIGKILL, True)]


def test_a_hang_does_not_return(folder, monkeypatch):
    PlannedFault("guardian", "guardian.watch", "hang").plant(folder)
    arm_from_environment("guardian")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(fault_injection.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        reach("guardian.watch")
    assert len(slept) == 4


@pytest.mark.parametrize(
    "name", ["worker,no.such,kill,1", "worker,sink.commit,burn,1", "worker,op.process,kill,0", "x"]
)
def test_what_is_no_fault_is_refused(folder, name):
    (folder / name).touch()
    with pytest.raises(ValueError, match=r"no such fault|not enough values"):
        arm_from_environment("worker-0")


def test_without_the_variable_nothing_is_armed(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    arm_from_environment("worker-0")
    reach("sink.commit")
