"""Which splits of each source a job knows: those that were listed, those that a checkpoint names. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streamlab.runtime.messages.protocol import Splits
from streamlab.state.checkpoints.manifest import KnownSplit, Manifest, TaskState


def with_found_splits(splits: Splits, tasks: Sequence[TaskState]) -> tuple[Splits, tuple[TaskState, ...]]:
    """Return the splits of each source as a checkpoint names them, and its tasks without those that they have found.

    Of a source that discovers splits these are the ones that its subtasks know and have not read to their ends.
    """
    found: dict[str, tuple[KnownSplit, ...]] = {}
    out: list[TaskState] = []
    for task in tasks:
        source = task.source
        if source is not None and source.found is not None:
            found[task.vertex] = (*found.get(task.vertex, ()), *source.found)
            task = msgspec.structs.replace(task, source=msgspec.structs.replace(source, found=None))  # noqa: PLW2901
        out.append(task)
    return {**splits, **found}, tuple(out)


def bytes_in_all(splits: Splits) -> int | None:
    """Return how many bytes of files there are to be read; None unless all sources are files that do not grow."""
    sizes = [split.bytes for parts in splits.values() for split in parts or (KnownSplit(""),)]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def joined_splits(listed: Splits, origin: Manifest | None) -> Splits:
    """Return the splits of each source: those that the origin knows, and new ones behind them."""
    joined = dict(listed)
    for vertex, known in origin.splits.items() if origin is not None else ():
        if vertex in listed:
            ids = {split.id for split in known}
            joined[vertex] = (*known, *(split for split in listed[vertex] if split.id not in ids))
    return joined
