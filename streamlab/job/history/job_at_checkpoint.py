"""A job as it stood at one of its checkpoints."""

from __future__ import annotations

import secrets
from types import TracebackType

import polars as pl

from streamlab.core.errors import StreamlabError
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS, LATE_ROWS
from streamlab.core.process_id import process_id
from streamlab.graph.lowering import lower
from streamlab.job.history.checkpoints import Checkpoint, Combined
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.tables.table_reader import TableReader, fold_keyed, read_side_rows
from streamlab.state.checkpoints.manifests import ManifestStore


class Moment:
    """The tables and the state of a job at a checkpoint; made by ``job.at(7)``.

    Attributes
    ----------
    checkpoint : Checkpoint
        The state of its operators and the positions of its sources.

    Parameters
    ----------
    handle
        The client's side of the job.
    checkpoint
        The checkpoint, opened.
    """

    def __init__(self, handle: JobHandle, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._handle = handle

    def results(self) -> pl.DataFrame:
        """Return the result table as it stood; of an append-only one the rows that are still kept."""
        table = TableReader(self._handle.folder.results)
        return fold_keyed(table.changelog(before=self.checkpoint.id), table.keys).select(table.schema.names())

    def late_rows(self) -> pl.DataFrame:
        """Return the rows that had come too late by then."""
        frames = self._side(LATE_ROWS)
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()

    def dead_letters(self) -> pl.DataFrame:
        """Return the input that could not be understood by then."""
        return pl.concat([DEAD_LETTER_SCHEMA.to_frame(), *self._side(DEAD_LETTERS)])

    def state(self, operator: str) -> pl.DataFrame:
        """Return the state of an operator; see :meth:`Checkpoint.state`."""
        return self.checkpoint.state(operator)

    def state_by_key(self, operator: str) -> pl.DataFrame:
        """Return the state of an operator as one table of its keys, as far as the job's query tells how to combine it.

        Raises
        ------
        OptionError
            If the checkpoint has no such operator.
        CheckpointError
            If a file is damaged or gone.
        """
        return self.checkpoint.state_by_key(operator, self._combined(self.checkpoint.operator_id(operator)))

    def _combined(self, operator: str) -> Combined:
        try:
            graph = lower(self._handle.folder.understand_query(), self._handle.meta.options.parallelism)
        except StreamlabError:
            return lambda _part, rows: rows
        specs = (spec for vertex in graph.vertices for spec in vertex.operators if spec.step == operator)
        spec = next(specs, None)
        return (lambda _part, rows: rows) if spec is None else spec.combined_state

    def sources(self) -> pl.DataFrame:
        """Return how far each split had been read; see :meth:`Checkpoint.sources`."""
        return self.checkpoint.sources()

    def _side(self, tag: str) -> list[pl.DataFrame]:
        return read_side_rows(self._handle.folder.results, tag, before=self.checkpoint.id)

    def __repr__(self) -> str:
        return f"<job {self._handle.meta.name!r} at checkpoint {self.checkpoint.id}>\n{self.results()}"


class HeldMoment(Moment):
    """A moment whose checkpoint nobody deletes until it is released, or this process ends; made by ``job.hold(7)``.

    Parameters
    ----------
    handle
        The client's side of the job.
    checkpoint_id
        Id of the checkpoint.

    Raises
    ------
    CheckpointError
        If it is being deleted just now, or cannot be read.
    """

    def __init__(self, handle: JobHandle, checkpoint_id: int) -> None:
        blobs = handle.folder.checkpoint_blobs()
        self._store, self._owner = ManifestStore(blobs), f"look-{secrets.token_hex(8)}"
        here = process_id()
        manifest = self._store.hold(checkpoint_id, self._owner, [here] if here is not None else [])
        super().__init__(handle, Checkpoint(blobs, manifest))

    def release(self) -> None:
        """Let go of the checkpoint; the job deletes it when its time has come."""
        self._store.release(self.checkpoint.id, self._owner)

    def __enter__(self) -> HeldMoment:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
