"""What a reader must give out to do as another one noted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from streamlab.connectors.reading.replays.batch_log import Cut
from streamlab.connectors.reading.split_cursor import ReadChunk, SplitCursor


class Waiting(Enum):
    """Not everything can be read yet."""

    FOR_ROWS = "for rows"


def planned(
    cut: Cut, cursors: Mapping[str, SplitCursor], queue: deque[ReadChunk], limit: Callable[[int], int], now_us: int
) -> list[tuple[ReadChunk, int]] | Waiting | None:
    """Return the pieces, with how many of their rows, that make a batch as it was cut; None when that is impossible.

    Parameters
    ----------
    cut
        The batch.
    cursors
        The splits that have not ended.
    queue
        What was read and not given out; what is read now is put behind it.
    limit
        How many rows to read at once when so many are needed: reads are best as large as they were.
    now_us
        The wall clock.
    """
    takes: list[tuple[ReadChunk, int]] = []
    taken: dict[int, int] = {}
    reached: dict[str, int] = {}
    for split, rows in cut.parts:
        cursor = cursors.get(split)
        if cursor is None or (cursor.limit is not None and rows > cursor.limit):
            return None
        need = rows - reached.get(split, cursor.rows_given)
        reached[split] = max(rows, reached.get(split, 0))
        if need <= 0:
            continue
        missing = need - sum(piece.left - taken.get(id(piece), 0) for piece in queue if piece.cursor is cursor)
        while missing > 0:
            piece = cursor.fetch(limit(missing), now_us)
            if piece is None:
                return None if cursor.exhausted else Waiting.FOR_ROWS
            queue.append(piece)
            missing -= piece.left
        for piece in [piece for piece in queue if piece.cursor is cursor]:
            rows_of_it = min(need, piece.left - taken.get(id(piece), 0))
            if rows_of_it or (need and not piece.left and id(piece) not in taken):
                takes.append((piece, rows_of_it))
                taken[id(piece)] = taken.get(id(piece), 0) + rows_of_it
                need -= rows_of_it
    ends = _ends(cut, cursors, queue, now_us)
    return ends if isinstance(ends, Waiting) else [*takes, *ends]


def all_due(takes: Iterable[tuple[ReadChunk, int]], column: str, allowed_us: int | None) -> bool:
    """Return whether no row comes after a time; None allows all."""
    return allowed_us is None or all(piece.due(column, allowed_us) >= rows for piece, rows in takes)


def earliest(takes: Iterable[tuple[ReadChunk, int]], column: str) -> int | None:
    """Return the first event time of the rows; None when there are none."""
    times = [piece.next_time_us(column) for piece, _ in takes]
    return min((time for time in times if time is not None), default=None)


def _ends(
    cut: Cut, cursors: Mapping[str, SplitCursor], queue: deque[ReadChunk], now_us: int
) -> list[tuple[ReadChunk, int]] | Waiting:
    """Read the splits that ended to their ends, and return what was found there: nothing but dead letters."""
    found: list[tuple[ReadChunk, int]] = []
    for split in cut.finished:
        cursor = cursors.get(split)
        while cursor is not None and not cursor.exhausted:
            piece = cursor.fetch(1, now_us)
            if piece is None:
                if cursor.exhausted:
                    break
                return Waiting.FOR_ROWS
            queue.append(piece)
            if piece.left:
                break
            found.append((piece, 0))
    return found
