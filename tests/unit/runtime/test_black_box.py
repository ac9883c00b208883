"""What is told of a worker that crashed: the step, and Python's own report from the call of the step on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamlab.runtime.process.crash_record import read_fault, shown_fault
from streamlab.runtime.task import task

WATCHDOG = """\
Thread 0x00007f0be5bfe6c0 (most recent call first):
  File "/lib/threading.py", line 1045 in _bootstrap_inner
"""
STEP = """\
  File "/home/me/mine.py", line 3 in crashes
  File "/lib/streamlab/operators/map_batches.py", line 51 in process
"""
SHOWN_STEP = "".join(reversed(STEP.splitlines(keepends=True)))
LOOP = f"""\
  File "{task.__file__}", line 444 in _guarded
  File "{task.__file__}", line 334 in _feed
  File "/lib/streamlab/runtime/worker/worker.py", line 310 in <module>
"""
MODULES = "\nExtension modules: numpy._core._multiarray_umath (total: 1)\n"


def test_of_a_crash_only_the_thread_that_crashed_is_shown_from_the_step_on():
    report = (
        f"Fatal Python error: Segmentation fault\n\n{WATCHDOG}\n"
        f"Current thread 0x00007f0c0fc68b80 (most recent call first):\n{STEP}{LOOP}{MODULES}"
    )
    assert shown_fault(report) == f"Current thread (most recent call last):\n{SHOWN_STEP}"


def test_a_step_within_a_step_is_shown_from_the_innermost_on():
    inner = '  File "/lib/streamlab/operators/inner.py", line 1 in process\n'
    report = f"Current thread 0x01 (most recent call first):\n{STEP}{LOOP}{inner}{LOOP}"
    assert shown_fault(report).endswith(f":\n{SHOWN_STEP}")


def test_a_crash_in_a_thread_that_python_does_not_know_shows_what_steps_were_running():
    report = (
        f"Fatal Python error: Segmentation fault\n\n{WATCHDOG}\n"
        f"Thread 0x00007f0c0fc68b80 (most recent call first):\n{STEP}{LOOP}"
    )
    assert shown_fault(report) == f"Thread (most recent call last):\n{SHOWN_STEP}"


def test_a_crash_in_a_thread_of_the_users_is_shown_whole():
    report = (
        f"Fatal Python error: Segmentation fault\n\nCurrent thread 0x01 (most recent call first):\n"
        f'  File "/home/me/mine.py", line 9 in in_background\n\n'
        f"Thread 0x02 (most recent call first):\n{STEP}{LOOP}"
    )
    assert shown_fault(report) == (
        'Current thread (most recent call last):\n  File "/home/me/mine.py", line 9 in in_background\n'
    )


def test_of_a_worker_that_ended_itself_because_it_hung_the_step_is_shown():
    report = f"Timeout (0:10:15)!\nThread 0x01 (most recent call first):\n{STEP}{LOOP}\n{WATCHDOG}"
    assert shown_fault(report) == f"Thread (most recent call last):\n{SHOWN_STEP}"


@pytest.mark.parametrize("report", ["", "\n\n", "Fatal Python error: Bus error\n", "torn wri", f"{WATCHDOG}"])
def test_a_report_without_a_step_is_shown_as_it_is(report):
    assert shown_fault(report) == report


def test_a_worker_that_did_not_come_to_writing_one_has_none(tmp_path):
    assert read_fault(tmp_path / "worker-0.fault") == ""


def test_the_report_of_this_very_interpreter_is_understood(tmp_path):
    """The shape of faulthandler's text is not promised: this pins what all supported versions write."""
    code = f"""
import ctypes, faulthandler, sys, threading
faulthandler.enable(open({str(tmp_path / "fault")!r}, "w"))
threading.Thread(target=threading.Event().wait, daemon=True).start()
def mine():
    ctypes.string_at(0)
exec(compile("def _guarded(call):\\n    call()", {task.__file__!r}, "exec"))
_guarded(mine)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode < 0
    lines = shown_fault(read_fault(tmp_path / "fault")).splitlines()
    assert lines[0] == "Current thread (most recent call last):"
    assert lines[1] == '  File "<string>", line 6 in mine'
    assert lines[2].endswith("in string_at")
    assert len(lines) == 3
