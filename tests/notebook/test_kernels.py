"""Jobs and the life of a kernel: an interrupt leaves the job alone; what ends the kernel ends the job and its files."""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.manager import KernelManager, start_new_kernel

from streamlab.core.errors import JobError
from streamlab.job import attach
from streamlab.observe.status import JobState

pytestmark = pytest.mark.timeout(180)

START = """
import polars as pl
import streamlab as sl
get_ipython().run_line_magic("load_ext", "streamlab")
get_ipython().run_cell_magic("stream", "{name}", '''
sl.generate(lambda start, n: pl.DataFrame({{"n": range(start, start + n)}}), rows_per_second=1000)
''')
"""
SLOW_S = 60.0


class Kernel:
    """A kernel with a client, as a front end has them."""

    def __init__(self) -> None:
        self.manager: KernelManager
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, code: str) -> dict[str, Any]:
        """Run a cell and return the reply; raises if the cell failed."""
        reply = self.client.execute_interactive(code, timeout=SLOW_S, output_hook=lambda _: None)["content"]
        assert reply["status"] == "ok", reply
        return reply

    def start_job(self, name: str) -> None:
        """Start an endless job, and wait until it reads."""
        self.run(START.format(name=name))
        until(lambda: attach(name).report().rows_in > 0)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


def until(condition: Any) -> None:
    """Wait for a condition; a job that is not there yet does not satisfy it."""
    deadline = time.monotonic() + SLOW_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except JobError:
            pass
        time.sleep(0.02)
    pytest.fail("waited in vain")


def test_an_interrupt_ends_the_waiting_and_not_the_job(kernel: Kernel) -> None:
    kernel.start_job("interrupted")
    waiting = kernel.client.execute("interrupted.wait()")
    until(lambda: _is_busy(kernel))
    kernel.manager.interrupt_kernel()
    assert _reply_to(kernel, waiting)["ename"] == "KeyboardInterrupt"
    before = attach("interrupted").report().rows_in
    until(lambda: attach("interrupted").report().rows_in > before)
    assert attach("interrupted").status is JobState.RUNNING


def test_a_restart_ends_the_job(kernel: Kernel) -> None:
    kernel.start_job("restarted")
    kernel.manager.restart_kernel()
    until(lambda: attach("restarted").status.is_final)


def test_a_kernel_that_is_killed_takes_its_job_along(kernel: Kernel) -> None:
    kernel.start_job("orphan")
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    until(lambda: attach("orphan").status.is_final)


def test_a_detached_job_outlives_its_kernel_and_is_found_again(kernel: Kernel) -> None:
    kernel.run(START.format(name="detached --detach"))
    until(lambda: attach("detached").report().rows_in > 0)
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    until(lambda: not kernel.manager.is_alive())
    before = attach("detached").report().rows_in
    until(lambda: attach("detached").report().rows_in > before)
    assert attach("detached").cancel() is JobState.CANCELLED


def _is_busy(kernel: Kernel) -> bool:
    try:
        message = kernel.client.get_iopub_msg(timeout=SLOW_S)
    except queue.Empty:
        return False
    return message["msg_type"] == "execute_input" and "wait" in message["content"]["code"]


def _reply_to(kernel: Kernel, msg_id: str) -> dict[str, Any]:
    while True:
        reply = kernel.client.get_shell_msg(timeout=SLOW_S)
        if reply["parent_header"].get("msg_id") == msg_id:
            return dict(reply["content"])
