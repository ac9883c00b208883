"""The end of a recording, taken along in a savepoint: what was recorded and not yet read.

The new job's recording begins with it, under the same numbers, so positions keep their meaning: what is left is read
first, and then the source itself, whose position the last record knows. So there is always one record, the last one
that was read, even when nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streamlab.connectors.contracts.source import Position
from streamlab.connectors.files.durable_files import make_folder, replace_file
from streamlab.connectors.reading.finished_splits import FinishedIds, FinishedSplits
from streamlab.connectors.recording.recording_log import boundaries, segments
from streamlab.connectors.recording.recording_notes import read_splits, split_folder
from streamlab.core.errors import SourceError, explained

Tail = dict[str, list[tuple[int, bytes]]]
"""Segments by split: the number of the first record, and the records as they are in the log."""


def is_recording(folder: Path) -> bool:
    """Return whether a recording was begun there."""
    return folder.is_dir()


def tail_of(folder: Path, positions: Mapping[str, Position], finished: FinishedSplits) -> Tail:
    """Return the records of a recording from some positions on; of a split that was not begun, all of them.

    Of the splits that are `finished` nothing is needed.

    Raises
    ------
    SourceError
        If records are missing or damaged.
    """
    ended = FinishedIds(finished)
    return {
        split: _tail(at, _number(positions.get(split, 0)))
        for split, at in read_splits(folder).items()
        if split not in ended
    }


def put_tail(folder: Path, tail: Tail) -> None:
    """Begin a recording with the end of another one. Raises OSError if that is not possible."""
    for split, parts in tail.items():
        log = split_folder(folder, split)
        make_folder(log)
        for first, records in parts:
            replace_file(log / f"{first:012d}.records", records)


def _number(position: Position) -> int:
    return int(position[0] if isinstance(position, tuple) else position)


def _tail(folder: Path, number: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    there = segments(folder)
    wanted = max(number - 1, there[0].first if there else 0)
    for at, segment in enumerate(there):
        if at + 1 < len(there) and there[at + 1].first <= wanted:
            continue
        starts = boundaries(segment, is_last=at + 1 == len(there))
        skipped = max(0, wanted - segment.first)
        if skipped < len(starts) - 1:
            with segment.path.open("rb") as file:
                file.seek(starts[skipped])
                found.append((segment.first + skipped, file.read(starts[-1] - starts[skipped])))
    if number and not (found and found[0][0] <= number):
        needed = f"record {number:,} of {folder}, or the one before it"
        raise SourceError(explained("recording", needed=needed, got="that they are gone"))
    return found
