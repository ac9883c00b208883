"""A function of the user's that forks while a client learns what it returns: the child is no second client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, os, sys, threading
import polars as pl
import streamlab as sl

how = sys.argv[2]

def forks():
    if how == "exits" and os.fork() == 0:
        sys.exit(3)
    elif how == "raises" and os.fork() == 0:
        raise ValueError("in the child")
    elif how == "in C":
        ctypes.CDLL(None).fork()
    elif how == "in a thread":
        thread = threading.Thread(target=os.fork)
        thread.start()
        thread.join()
    elif how in ("goes on", "in an expression"):
        os.fork()

def rows(start, n):
    forks()
    return pl.DataFrame({"n": range(start, start + n)})

def plus(column):
    forks()
    return column + 1

if sys.argv[1] == "generate":
    made = sl.generate(rows, limit=3)
elif sys.argv[1] == "group_by":
    summed = pl.col("n").map_batches(plus, is_elementwise=True).sum()
    made = sl.from_frame(pl.DataFrame({"n": [0, 1, 2]})).select(summed).filter(pl.col("n") > 0)
elif sys.argv[1] == "pipe":
    made = sl.from_frame(pl.DataFrame({"n": [0, 1, 2]})).pipe(lambda frame: forks() or frame)
elif sys.argv[1] == "rename":
    made = sl.from_frame(pl.DataFrame({"n": [0, 1, 2]})).rename(lambda name: forks() or name)
else:
    made = sl.from_frame(pl.DataFrame({"n": [0, 1, 2]})).select(pl.col("n").map_batches(plus, is_elementwise=True))
with open(sys.argv[3], "a") as file:
    file.write(f"{made.columns}\\n")
"""


IN_PYTHON = ("goes on", "exits", "raises", "in a thread")
CASES = [(call, how) for call in ("generate", "rename", "select", "group_by", "pipe") for how in IN_PYTHON]
CASES += [(call, "in C") for call in ("generate", "rename", "select")]


@pytest.mark.parametrize(("call", "how"), CASES)
def test_a_child_of_a_client_ends_with_the_function_that_forks_it(call: str, how: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = [sys.executable, "-c", SCRIPT, call, how, str(told)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert told.read_text() == "['n']\n"


def test_what_a_script_forks_by_itself_goes_on(tmp_path: Path) -> None:
    script = SCRIPT + "\nif os.fork() == 0:\n    open(sys.argv[3], 'a').write('child\\n')\n    os._exit(0)\nos.wait()\n"
    told = tmp_path / "told"
    subprocess.run([sys.executable, "-c", script, "generate", "not", str(told)], timeout=60, check=True)
    assert told.read_text() == "['n']\nchild\n"
