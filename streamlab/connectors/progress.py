"""How far a source has been read, as plain values, and who reads which of its splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streamlab.connectors.paths import natural
from streamlab.connectors.source import Position, Split
from streamlab.core.time import MIN_TIME_US


@dataclass(frozen=True)
class SplitProgress:
    """How far a split has been given out.

    Attributes
    ----------
    position : Position
        Where a new reader is opened.
    skip : int
        Good rows after that position which were given out too.
    watermark_us : int
        The split's own watermark.
    finished : bool
        Whether nothing of it is left.
    rows : int
        Good rows that were given out.
    """

    position: Position
    skip: int
    watermark_us: int
    finished: bool
    rows: int = 0


@dataclass(frozen=True)
class ReaderSnapshot:
    """State of a reader, all plain values. For another parallelism: :func:`merge_snapshots`.

    Attributes
    ----------
    splits : Mapping[str, SplitProgress]
        By split id; splits that were not begun are left out.
    watermark_us : int
        What was last given out.
    latest_us : int | None
        Latest event time that was given out, from which a paced replay goes on.
    """

    splits: Mapping[str, SplitProgress] = field(default_factory=dict)
    watermark_us: int = MIN_TIME_US
    latest_us: int | None = None


def merge_snapshots(snapshots: Iterable[ReaderSnapshot]) -> ReaderSnapshot:
    """Return what the readers of all subtasks start with together, whatever the new parallelism is."""
    every = list(snapshots)
    splits = {split: progress for one in every for split, progress in one.splits.items()}
    latest = [one.latest_us for one in every if one.latest_us is not None]
    watermark = min((one.watermark_us for one in every), default=MIN_TIME_US)
    return ReaderSnapshot(splits, watermark, min(latest, default=None))


def assigned(splits: Sequence[Split], subtask: int, parallelism: int) -> list[Split]:
    """Return the splits that one of several subtasks reads, earliest first.

    >>> [s.id for s in assigned([Split("b"), Split("a10"), Split("a9")], 0, 2)]
    ['a9', 'b']
    """

    def order(split: Split) -> tuple[int, list[tuple[int, int, str]]]:
        return (MIN_TIME_US if split.min_time_us is None else split.min_time_us, natural(split.id))

    return sorted(splits, key=order)[subtask::parallelism]


def rows_of(snapshot: ReaderSnapshot, split: str) -> int:
    """Return how many rows of a split had been given out."""
    return snapshot.splits[split].rows if split in snapshot.splits else 0
