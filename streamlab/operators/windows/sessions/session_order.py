"""Which sessions late-coming rows join, as if rows came one by one.

A session that has closed takes no row any more, even where the next row of its key touches it: that one is late, or
opens another session. With rows that bring their watermarks along, sessions close *between* the rows of a batch. Rows
that are ahead of the watermark never see that: a session they touch is open. Nor does their order matter to the others,
since a row that comes later and is on time lies beyond all that had closed. So only rows behind their watermarks are
looked at:

- most lie within a session that is open, and change nothing about which sessions there are;
- of the others, those near no session that closes meanwhile may come in any order;
- the few that are left are gone through one by one, per stretch of neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.operators.windows.columns import END, FINAL, START
from streamlab.operators.windows.grids.assign import merge_sessions

_KEY, _AT = own("key"), own("at")
_SESSION_START, _SESSION_END = own("session_start"), own("session_end")


@dataclass(frozen=True)
class InOrder:
    """What becomes of rows that came behind their watermarks, in their order.

    Attributes
    ----------
    is_late : npt.NDArray[np.bool_]
        Whether no session takes the row, and it opens none.
    rounds : npt.NDArray[np.int64]
        Rows are added round by round. Before the rows of round n > 0, the sessions close that had ended when a row of
        this round came which touches them.
    """

    is_late: npt.NDArray[np.bool_]
    rounds: npt.NDArray[np.int64]


def in_order(rows: pl.DataFrame, sessions: pl.DataFrame) -> InOrder:
    """Judge rows in the order in which they came.

    Parameters
    ----------
    rows
        `_KEY` (the number of the key), `START` and `END` of the session that each row would be alone, and
        `FINAL`: a session that ends by then had closed for good when the row came. All Int64, without nulls.
    sessions
        `_KEY`, `START` and `END`: the sessions, apart from each other, that are there, rows that are on time
        and came in the same batch included.

    Examples
    --------
    A session from 0 to 10 has closed when a row comes at 8, and so has that row's own; one at 9 opens another.

    >>> sessions = pl.DataFrame({_KEY: [0], START: [0], END: [10]})
    >>> rows = pl.DataFrame({_KEY: [0, 0], START: [8, 9], END: [18, 19], FINAL: [18, 18]})
    >>> judged = in_order(rows, sessions)
    >>> judged.is_late.tolist(), judged.rounds.tolist()
    ([True, False], [0, 1])
    """
    is_late = np.zeros(rows.height, dtype=np.bool_)
    rounds = np.zeros(rows.height, dtype=np.int64)
    numbered = rows.with_row_index(_AT)
    for at, late, number in _judged(_not_within(numbered, sessions), sessions):
        is_late[at], rounds[at] = late, number
    return InOrder(is_late, rounds)


def _not_within(rows: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that do not lie within a session which is open when they come."""
    named = sessions.select(_KEY, START, pl.col(END).alias(_SESSION_END)).sort(START)
    placed = rows.sort(START).join_asof(named, on=START, by=_KEY, strategy="backward", check_sortedness=False)
    inside = (pl.col(END) <= pl.col(_SESSION_END)) & (pl.col(_SESSION_END) > pl.col(FINAL))
    return placed.filter(~inside.fill_null(value=False)).select(rows.columns).sort(_AT)


def _judged(rows: pl.DataFrame, sessions: pl.DataFrame) -> list[tuple[int, bool, int]]:
    """Return number, lateness and round of the rows that are not simply taken."""
    mine = sessions.join(rows.select(_KEY).unique(), on=_KEY, how="semi")
    blank = pl.lit(None, pl.Int64)
    members = pl.concat(
        [
            mine.select(_KEY, START, END, blank.alias(FINAL), blank.alias(_AT)),
            rows.select(_KEY, START, END, FINAL, pl.col(_AT).cast(pl.Int64)),
        ]
    )
    stretch = merge_sessions(members.select(_KEY, START, END), [_KEY])
    members = members.with_columns(stretch[START].alias(_SESSION_START))
    together = [_KEY, _SESSION_START]
    by = members.group_by(together).agg(
        pl.len().alias("members"),
        rows=pl.col(_AT).count(),
        simple=pl.col(END).min() > pl.col(FINAL).max(),
    )
    members = members.join(by.filter(pl.col("rows") > 0, ~pl.col("simple")), on=together)
    alone = members.filter(pl.col("members") == 1)
    judged = [(at, True, 0) for at in alone.filter(pl.col(END) <= pl.col(FINAL))[_AT]]
    rest = members.filter(pl.col("members") > 1).sort(*together, _AT, nulls_last=False)
    stretches = rest.select(*together, START, END, FINAL, _AT)
    before: tuple[int, int] | None = None
    one = _Stretch()
    for key, first, start, end, final, at in stretches.iter_rows():
        if (key, first) != before:
            before, one = (key, first), _Stretch()
        if at is None:
            one.sessions.append((start, end))
        else:
            judged.append((at, *one.take(start, end, final)))
    return judged


class _Stretch:
    """Neighbouring sessions of one key, and the rows that come to them."""

    def __init__(self) -> None:
        self.sessions: list[tuple[int, int]] = []
        self._closed: list[tuple[int, int]] = []
        self._round = 0

    def take(self, start: int, end: int, final: int) -> tuple[bool, int]:
        """Take the next row, and return whether it is late, and its round."""
        self._closed += [one for one in self.sessions if one[1] <= final]
        self.sessions = [one for one in self.sessions if one[1] > final]
        touching = [one for one in self.sessions if one[0] <= end and start <= one[1]]
        if not touching and end <= final:
            return True, 0
        if any(one[0] <= end and start <= one[1] for one in self._closed):
            self._round += 1
            self._closed = []
        merged = min(start, *(one[0] for one in touching), start), max(end, *(one[1] for one in touching), end)
        self.sessions = [one for one in self.sessions if one not in touching] + [merged]
        return False, self._round
