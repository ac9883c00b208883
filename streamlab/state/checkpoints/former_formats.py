"""State of earlier formats as it would be written now.

Before format 3 columns of ours had other names, and keys were given to subtasks by the remainder of their hashes.
"""

from __future__ import annotations

import re

import msgspec
import polars as pl

from streamlab.core.column_names.former_names import renewed
from streamlab.core.column_names.own_columns import in_words
from streamlab.state.checkpoints.manifest import Manifest, StoredColumn, StoredFact, StoredStep
from streamlab.state.snapshot import Snapshot

_PREFIXED = 3
"""The format from which on columns of ours have a prefix."""
_GROUPED = 3
"""The format from which on keys are given to subtasks by key groups."""
_CONDITION = re.compile(r"(?:result )?(?P<column>__having\d+)(?: \(result\))?")


def snapshot_as_now(snapshot: Snapshot, written_in: int) -> Snapshot:
    """Return state with columns of ours as they are called now.

    Parameters
    ----------
    snapshot
        As it is stored.
    written_in
        The format of the checkpoint that it is of.
    """
    if written_in >= _PREFIXED:
        return snapshot
    keyed = {name: tuple(frame.rename(renewed) for frame in frames) for name, frames in snapshot.keyed.items()}
    return Snapshot(keyed, snapshot.values, tuple(map(renewed, snapshot.key_columns)))


def has_key_groups(manifest: Manifest) -> bool:
    """Return whether keys belong to the key groups of this version: another Polars may give them to others."""
    return manifest.format >= _GROUPED and manifest.polars == pl.__version__


def step_as_now(step: StoredStep, written_in: int) -> StoredStep:
    """Return what a checkpoint of some format says of a step with columns of ours as they are called now."""
    if written_in >= _PREFIXED:
        return step
    facts = tuple(StoredFact(_told(fact.name), fact.value, fact.written) for fact in step.facts)
    conditions = [found["column"] for found in map(_CONDITION.fullmatch, (fact.name for fact in step.facts)) if found]
    columns = {
        **{renewed(name): StoredColumn(_told(name)) for name in conditions},
        **{
            renewed(name): StoredColumn(_told(column.name), column.is_time, column.zone)
            for name, column in step.columns.items()
        },
    }
    return msgspec.structs.replace(step, facts=facts, columns=columns)


def _told(name: str) -> str:
    """Return what a fact or a column is called: conditions by which groups are chosen had no words of their own."""
    found = _CONDITION.fullmatch(name)
    return name if found is None else in_words(renewed(found["column"]))
