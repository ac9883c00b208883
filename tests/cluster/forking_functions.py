"""User functions that fork, or break what belongs to their process. Imported by the workers, too."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pty
import signal
import sys
import threading
import time

import polars as pl


def forgets_to_exit(frame: pl.DataFrame) -> pl.DataFrame:
    os.fork()
    return frame


def child_exits(frame: pl.DataFrame) -> pl.DataFrame:
    if os.fork() == 0:
        sys.exit(3)
    return frame


def child_raises(frame: pl.DataFrame) -> pl.DataFrame:
    if os.fork() == 0:
        message = "in the child"
        raise ValueError(message)
    return frame


def child_closes_descriptors(frame: pl.DataFrame) -> pl.DataFrame:
    if os.fork() == 0:
        os.closerange(0, 256)
    return frame


def child_gets_a_terminal(frame: pl.DataFrame) -> pl.DataFrame:
    pid, terminal = pty.fork()
    if pid:
        os.close(terminal)
    return frame


def forks_in_c(frame: pl.DataFrame) -> pl.DataFrame:
    ctypes.CDLL(None).fork()
    return frame


def forks_in_a_thread(frame: pl.DataFrame) -> pl.DataFrame:
    thread = threading.Thread(target=os.fork)
    thread.start()
    thread.join()
    return frame


def forks_in_an_expression(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("v").map_elements(_forks_now_and_then, return_dtype=pl.Int64))


def _forks_now_and_then(value: int) -> int:
    if value % 50 == 0:
        os.fork()
    return value


def has_a_pool(frame: pl.DataFrame) -> pl.DataFrame:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    return frame


# -- what breaks the worker itself ---------------------------------------------------------------------------------


def closes_descriptors(frame: pl.DataFrame) -> pl.DataFrame:
    os.closerange(3, 256)
    time.sleep(1)
    return frame


def takes_over_descriptors(frame: pl.DataFrame) -> pl.DataFrame:
    os.closerange(3, 256)
    for _ in range(60):
        os.open(os.devnull, os.O_RDONLY)
    time.sleep(1)
    return frame


def is_raised_in_by_signals(frame: pl.DataFrame) -> pl.DataFrame:
    def handler(*_: object) -> None:
        message = "from a handler"
        raise RuntimeError(message)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    time.sleep(1)
    return frame


def ignores_signals(frame: pl.DataFrame) -> pl.DataFrame:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGABRT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    return frame
