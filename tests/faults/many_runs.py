"""Runs a function on many things, several at once, in processes of their own, with one PostgreSQL server for all."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from postgres_server import running_server

T = TypeVar("T")
R = TypeVar("R")


def run_all(function: Callable[[T, str], R], things: Sequence[T], at_once: int) -> Iterator[R]:
    """Yield what the function gives, in the order of ends; it is called with a thing and the server's address.

    When this is interrupted or told to end, what runs is finished, the rest left out, and the server stopped.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with running_server() as dsn, ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(function, thing, dsn) for thing in things]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
