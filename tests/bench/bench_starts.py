"""What a small question costs from the call to the answer, against the time in which Python imports Polars.

Run by itself, it asks in one process, as a script or a kernel does, and prints the seconds: of the first answer, of the
ones after it, and of the imports in between.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

import msgspec

_ROUNDS = 3
_ANSWERS = 9


class Times(msgspec.Struct):
    """Seconds in one process."""

    first: float
    later: list[float]
    imports: list[float]


def answer_ratios() -> tuple[float, float]:
    """Return how long the first answer of a process takes, and those after it, in imports of Polars."""
    times = [_in_a_process() for _ in range(_ROUNDS)]
    firsts = median(one.first / median(one.imports) for one in times)
    return firsts, median(median(one.later) / median(one.imports) for one in times)


def _in_a_process() -> Times:
    done = subprocess.run([sys.executable, __file__], check=True, capture_output=True)
    return msgspec.json.decode(done.stdout, type=Times)


def main() -> None:
    """Measure in this process."""
    import polars as pl  # noqa: PLC0415 - whoever imports this only to run it does not need them

    import streamlab as sl  # noqa: PLC0415

    frame = pl.DataFrame({"k": ["a", "b"] * 5, "v": range(10)})
    answers, imports = [], []
    for _ in range(_ANSWERS):
        began = time.perf_counter()
        sl.from_frame(frame).group_by("k").agg(pl.col("v").sum()).collect()
        answers.append(time.perf_counter() - began)
    for _ in range(_ANSWERS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import polars"], check=True)
        imports.append(time.perf_counter() - began)
    sys.stdout.buffer.write(msgspec.json.encode(Times(answers[0], answers[1:], imports)))


if __name__ == "__main__":
    main()
