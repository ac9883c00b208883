"""How far a source has been read, as plain values, and who reads which of its splits."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamlab.connectors.contracts.source import Position, Split
from streamlab.connectors.files.paths import natural
from streamlab.connectors.reading.finished_splits import FinishedIds, FinishedSplits, merge_finished
from streamlab.core.event_time.time import MIN_TIME_US


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
    bytes : int
        Bytes of its file that they, and what could not be understood among them, are written in.
    """

    position: Position
    skip: int
    watermark_us: int
    finished: bool
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class ReaderSnapshot:
    """State of a reader, all plain values. For another parallelism: :func:`merge_snapshots`.

    Attributes
    ----------
    splits : Mapping[str, SplitProgress]
        By split id: those that were begun and have not ended, and the last that have ended.
    watermark_us : int
        What was last given out.
    latest_us : int | None
        Latest event time that was given out, from which a paced replay goes on.
    finished : FinishedSplits
        All others that have ended.
    found : tuple[Split, ...] | None
        Of a source that discovers splits: all that have not ended, whether begun or not. None of any other.
    """

    splits: Mapping[str, SplitProgress] = field(default_factory=dict)
    watermark_us: int = MIN_TIME_US
    latest_us: int | None = None
    finished: FinishedSplits = field(default_factory=FinishedSplits)
    found: tuple[Split, ...] | None = None

    def splits_found(self, otherwise: Iterable[Split]) -> list[Split]:
        """Return all splits of a source that discovers them that are known here; `otherwise` if it is not said which.

        Those whose ends are known besides are among them. Earlier versions said nothing of splits that they found after
        the start, except how far they had been read.
        """
        splits = list(otherwise if self.found is None else self.found)
        ids = {split.id for split in splits}
        return [*splits, *(Split(name) for name in self.splits if name not in ids)]


def merge_snapshots(snapshots: Iterable[ReaderSnapshot]) -> ReaderSnapshot:
    """Return what the readers of all subtasks start with together, whatever the new parallelism is."""
    every = list(snapshots)
    splits = {split: progress for one in every for split, progress in one.splits.items()}
    latest = [one.latest_us for one in every if one.latest_us is not None]
    watermark = min((one.watermark_us for one in every), default=MIN_TIME_US)
    discovered = [one.found for one in every if one.found is not None]
    return ReaderSnapshot(
        splits,
        watermark,
        min(latest, default=None),
        merge_finished(one.finished for one in every),
        tuple(split for found in discovered for split in found) if discovered else None,
    )


def in_order(splits: Iterable[Split]) -> list[Split]:
    """Return splits in the order in which they are best read, earliest first.

    >>> [s.id for s in in_order([Split("b"), Split("a10"), Split("a9")])]
    ['a9', 'a10', 'b']
    """

    def order(split: Split) -> tuple[int, list[tuple[int, int, str]]]:
        return (MIN_TIME_US if split.min_time_us is None else split.min_time_us, natural(split.id))

    return sorted(splits, key=order)


def assigned(splits: Iterable[Split], subtask: int, parallelism: int, *, discovers: bool = False) -> list[Split]:
    """Return the splits that one of several subtasks reads, earliest first.

    Of a source that discovers splits, a split belongs to the same subtask whenever it was found: see :func:`owner_of`.
    Of any other all are known, and each subtask gets as many.
    """
    if discovers:
        return in_order(split for split in splits if owner_of(split.id, parallelism) == subtask)
    return in_order(splits)[subtask::parallelism]


def owner_of(split: str, parallelism: int) -> int:
    """Return which subtask reads a split of a source that discovers them: by its id alone, so that all agree on it."""
    return zlib.crc32(split.encode()) % parallelism


def rows_of(snapshot: ReaderSnapshot, split: str, finished: FinishedIds) -> int | None:
    """Return how many rows of a split had been given out; None: all of them, however many they were.

    Parameters
    ----------
    snapshot
        Where a source was.
    split
        The split's id.
    finished
        What `snapshot.finished` holds.
    """
    if split in snapshot.splits:
        return snapshot.splits[split].rows
    return None if split in finished else 0
