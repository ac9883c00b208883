"""Whether a process that has worked for a job is as good as a fresh one, so that the next job can have it.

It is when it has run streamlab's and Polars' code only. Code of a user's comes into a process in two ways: by the name
of a module, which is imported then, or by value, inside the pickled graph, where it refers to ``cloudpickle``.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterable

from streamlab.runtime.process.fault_injection import VARIABLE as FAULTS

_OWN = frozenset({"streamlab", "polars", "numpy", "pyarrow", "zmq", "msgspec", "psutil", "cloudpickle", "tzdata"})
_OWN_PREFIXES = ("_polars_runtime", "_cython_", "cython_runtime", "_sysconfigdata_")
_MOST_MEMORY_BYTES = 1_000_000_000
_BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024
_AT_FIRST = frozenset(sys.modules)
"""What was there before any job, such as what files of the virtual environment name."""


def is_untouched(graph: bytes) -> bool:
    """Return whether this process is as good as a fresh one, after a job with a pickled graph."""
    memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_OF_MAXRSS
    return (
        b"cloudpickle" not in graph
        and not foreign(set(sys.modules) - _AT_FIRST)
        and threading.enumerate() == [threading.main_thread()]
        and memory_bytes < _MOST_MEMORY_BYTES
        and FAULTS not in os.environ
    )


def foreign(modules: Iterable[str]) -> set[str]:
    """Return the packages of modules that are neither streamlab, nor what it is made with, nor Python's own.

    >>> foreign(["os.path", "polars.io", "mine.module"])
    {'mine'}
    """
    packages = {name.partition(".")[0] for name in modules}
    return {p for p in packages - _OWN - sys.stdlib_module_names if not p.startswith(_OWN_PREFIXES)}
