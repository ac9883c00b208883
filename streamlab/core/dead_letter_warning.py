"""The warnings of a call that keeps no job: rows were set aside, and whoever looks at the others should know it."""

from __future__ import annotations

import os
import sys
import warnings

import polars as pl

_MOST_KINDS = 3
_MOST_ORIGINS = 2
_PACKAGE = __name__.partition(".")[0]


class DeadLetterWarning(UserWarning):
    """Input was set aside as not understood while a query ran to its end.

    Attributes
    ----------
    dead_letters : pl.DataFrame
        What was set aside, with `DEAD_LETTER_SCHEMA`: the step, the reason, the input and its origin.
    """

    def __init__(self, message: str, dead_letters: pl.DataFrame) -> None:
        super().__init__(message)
        self.dead_letters = dead_letters


def warn_of(call: str, dead_letters: pl.DataFrame, hint: str) -> None:
    """Warn once, at the line of the user's own code, if there are dead letters.

    Parameters
    ----------
    call
        What the user called.
    dead_letters
        All that were set aside.
    hint
        How to see them.
    """
    if not dead_letters.height:
        return
    pieces = "piece of input was" if dead_letters.height == 1 else "pieces of input were"
    text = f"{call}: {dead_letters.height:,} {pieces} set aside as not understood: {kinds(dead_letters)}.\n  → {hint}"
    warnings.warn(DeadLetterWarning(text, dead_letters), stacklevel=frames_of_ours())


class LateRowsWarning(UserWarning):
    """Most rows were late while a query ran to its end, because of one that is far ahead of them."""


def warn_of_late_rows(call: str, said: str) -> None:
    """Warn once, at the line of the user's own code, if there is something to say."""
    if said:
        warnings.warn(LateRowsWarning(f"{call}: {said}"), stacklevel=frames_of_ours())


def kinds(dead_letters: pl.DataFrame) -> str:
    """Return the reasons in words, the most frequent first, each with its count and where it was met.

    >>> rows = {"reason": ["late", "bad", "bad"], "origin": ["", "d/a:1", "d/a:7"]}
    >>> kinds(pl.DataFrame(rows))
    '2 x bad (a:1, a:7), 1 x late'
    """
    counted = (
        dead_letters.group_by("reason", maintain_order=True)
        .agg(pl.len().alias("count"), pl.col("origin").unique(maintain_order=True))
        .sort("count", descending=True, maintain_order=True)
    )
    shown = [
        f"{count:,} x {reason}{_places(origins)}" for reason, count, origins in counted.head(_MOST_KINDS).iter_rows()
    ]
    left = counted.height - len(shown)
    return ", ".join([*shown, f"and for {left} more reason{'s' if left > 1 else ''}"] if left else shown)


def _places(origins: list[str]) -> str:
    names = [os.path.basename(origin) for origin in origins if origin]
    if not names:
        return ""
    return f" ({', '.join(names[:_MOST_ORIGINS])}{', …' if len(names) > _MOST_ORIGINS else ''})"


def frames_of_ours() -> int:
    """Return which frame, counted from that of the warning as 1, is the first that is not of this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    return level
