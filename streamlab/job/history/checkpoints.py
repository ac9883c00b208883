"""The checkpoints of a job as users see them: a table, and each of them opened as frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import overload

import polars as pl

from streamlab.connectors.reading.finished_splits import finished_names
from streamlab.core.errors import CheckpointError, OptionError, explained
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.job.history.shown_state import shown_state
from streamlab.observe.status import CheckpointStatus
from streamlab.runtime.task.task_states import finished_of
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.former_formats import step_as_now
from streamlab.state.checkpoints.manifest import Manifest, StoredState, StoredStep
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.savepoints import checkpoint_path
from streamlab.state.checkpoints.snapshots import read_snapshot
from streamlab.state.checkpoints.state_files import StateFiles

Combined = Callable[[str, pl.DataFrame], pl.DataFrame]
"""Given a table's name and rows, as they are stored, returns rows with one for each key."""
SCHEMA = pl.Schema(
    {
        "id": pl.Int64(),
        "state": pl.String(),
        "trigger": pl.String(),
        "triggered": pl.Datetime("us", "UTC"),
        "duration_ms": pl.Float64(),
        "alignment_ms": pl.Float64(),
        "size_bytes": pl.Int64(),
        "new_bytes": pl.Int64(),
        "attempt": pl.Int64(),
        "restored": pl.Int64(),
        "reason": pl.String(),
        "operators": pl.List(pl.Struct({"operator": pl.String(), "rows": pl.Int64(), "size_bytes": pl.Int64()})),
    }
)
"""Columns of the table of checkpoints; the last one has the state of each operator, of those that are still kept."""
_STATE_SCHEMA = pl.Schema(
    {
        "vertex": pl.String(),
        "operator": pl.String(),
        "subtask": pl.Int64(),
        "rows": pl.Int64(),
        "size_bytes": pl.Int64(),
    }
)
_SPLITS_SCHEMA = pl.Schema(
    {
        "vertex": pl.String(),
        "subtask": pl.Int64(),
        "split": pl.String(),
        "position": pl.String(),
        "skip": pl.Int64(),
        "watermark": pl.Datetime("us", "UTC"),
        "finished": pl.Boolean(),
    }
)


class Checkpoint:
    """One complete checkpoint, opened; ``start(from_savepoint=checkpoint)`` goes on from it.

    Attributes
    ----------
    id : int
        Its number in the job.

    Parameters
    ----------
    blobs
        Where it is kept.
    manifest
        What it says.
    """

    def __init__(self, blobs: Blobs, manifest: Manifest) -> None:
        self.id = manifest.id
        self._path = checkpoint_path(blobs, manifest.id)
        self._files = StateFiles(blobs)
        self._manifest = manifest

    def __fspath__(self) -> str:
        return self._path

    @property
    def operators(self) -> pl.DataFrame:
        """How much state each operator has in it: ``vertex, operator, subtask, rows, size_bytes``."""
        rows = []
        shown = self._shown
        for task in self._manifest.tasks:
            for step, state in task.operators.items():
                files = [file for frames in state.keyed.values() for file in frames]
                held = sum(file.rows for file in files), sum(file.size_bytes for file in files)
                rows.append((shown(task.vertex), shown(step), task.subtask, *held))
        return pl.DataFrame(rows, schema=_STATE_SCHEMA, orient="row")

    def state(self, operator: str) -> pl.DataFrame:
        """Return the state of an operator as it stood, rows of all subtasks.

        The first columns are ``subtask`` and ``part`` (which of the operator's tables), or ``subtask_`` and ``part_``
        when the state itself has a column of such a name; a column that a part has not is null there. Keys have their
        names; a partial result that one column of the result is made of has that name, others say what they are, such
        as ``sum(delay)``; windows are shown by their start and end, as are the panes that hopping windows share.

        Parameters
        ----------
        operator
            Name of the step, as ``explain()`` shows it, or its id. Of a step that was given no name, the method's name
            is enough when it is the only one: ``state("group_by")``.

        Raises
        ------
        OptionError
            If the checkpoint has no such operator.
        CheckpointError
            If a file is damaged or gone.
        """
        found, step = self._frames(operator)
        parts = [(subtask, part, shown_state(frame, step)) for subtask, part, frame in found]
        own = ["subtask", "part"]
        while any(name in frame.columns for _, _, frame in parts for name in own):
            own = [f"{name}_" for name in own]
        empty = pl.DataFrame(schema=dict(zip(own, (pl.Int64(), pl.String()), strict=True)))
        frames = [
            frame.select(pl.lit(subtask, pl.Int64).alias(own[0]), pl.lit(part).alias(own[1]), pl.all())
            for subtask, part, frame in parts
        ]
        return pl.concat([empty, *frames], how="diagonal_relaxed")

    def state_by_key(self, operator: str, combined: Combined) -> pl.DataFrame:
        """Return the state of an operator as one table of its keys, whichever subtasks have them.

        Which of the operator's tables a row is from says the column ``part``, if there are several.

        Parameters
        ----------
        operator
            Name of the step.
        combined
            Makes one row of those of a table that stand for the same key.

        Raises
        ------
        OptionError
            If the checkpoint has no such operator.
        CheckpointError
            If a file is damaged or gone.
        """
        found, step = self._frames(operator)
        parts: dict[str, list[pl.DataFrame]] = {}
        for _, part, frame in found:
            parts.setdefault(part, []).append(frame)
        tables = {
            part: shown_state(combined(part, pl.concat(frames, how="diagonal_relaxed")), step)
            for part, frames in parts.items()
        }
        if len(tables) == 1:
            return next(iter(tables.values()))
        name = "part"
        while any(name in table.columns for table in tables.values()):
            name = f"{name}_"
        empty = pl.DataFrame(schema={name: pl.String()})
        told = [table.select(pl.lit(part).alias(name), pl.all()) for part, table in tables.items()]
        return pl.concat([empty, *told], how="diagonal_relaxed")

    def _frames(self, operator: str) -> tuple[list[tuple[int, str, pl.DataFrame]], StoredStep | None]:
        """Return subtask, table and rows of an operator's state, as they are stored, and what is known of the step."""
        operator = self.operator_id(operator)
        holders = [task for task in self._manifest.tasks if operator in task.operators]
        if not holders:
            needed = f"an operator of checkpoint {self.id}"
            hint = f"operators: {', '.join(map(self._shown, self._known)) or 'none, all tasks had ended'}"
            raise OptionError(explained("state", needed=needed, got=repr(operator), hint=hint))
        written_in = self._manifest.format
        step = next((step_as_now(step, written_in) for step in self._manifest.steps if step.name == operator), None)
        found = [(task.subtask, *part) for task in holders for part in self._parts(task.operators[operator])]
        return found, step

    def sources(self) -> pl.DataFrame:
        """Return how far each split had been read: ``vertex, subtask, split, position, skip, watermark, finished``.

        One that nobody had begun to read has no subtask and no position; of those that have ended the last 30 of a
        subtask have one.
        """
        rows: list[tuple[object, ...]] = []
        begun = set()
        for task in self._manifest.tasks:
            for split, at in task.source.splits.items() if task.source is not None else ():
                watermark = at.watermark_us if MIN_TIME_US < at.watermark_us < MAX_TIME_US else None
                rows.append((task.vertex, task.subtask, split, str(at.position), at.skip, watermark, at.finished))
                begun.add((task.vertex, split))
            if task.source is not None:
                ended = list(finished_names(finished_of(task.source)))
                rows += [(task.vertex, task.subtask, split, None, 0, None, True) for split in ended]
                begun.update((task.vertex, split) for split in ended)
        for vertex, splits in self._manifest.splits.items():
            left = [split.id for split in splits if (vertex, split.id) not in begun]
            rows += [(vertex, None, split, None, 0, None, False) for split in left]
        schema = {**_SPLITS_SCHEMA, "watermark": pl.Int64()}
        return pl.DataFrame(rows, schema=schema, orient="row").cast({"watermark": _SPLITS_SCHEMA["watermark"]})

    @property
    def _known(self) -> list[str]:
        """The ids of all operators with state."""
        return sorted({step for task in self._manifest.tasks for step in task.operators})

    def operator_id(self, operator: str) -> str:
        """Return the id of the operator that is called so: by its id, by what users see of it, or by its method alone.

        What is no name of one is returned as it is.
        """
        known = self._known
        if operator in known:
            return operator
        seen = [name for name in known if self._shown(name) == operator]
        if seen:
            return seen[0]
        begun = [step.name for step in self._manifest.steps if step.base.rpartition(" ")[0] == operator]
        return begun[0] if len(begun) == 1 else operator

    def _shown(self, name: str) -> str:
        """Return what users see of an operator or a vertex, by its id."""
        step, _, half = name.partition(" (")
        titles = {step.name: step.title for step in self._manifest.steps}
        title = titles.get(step) or step
        return f"{title} ({half}" if half else title

    def _parts(self, state: StoredState) -> Iterator[tuple[str, pl.DataFrame]]:
        for part, frames in read_snapshot(state, self._files, self._manifest.format).keyed.items():
            for frame in frames:
                yield part, frame

    def __repr__(self) -> str:
        operators = self.operators
        rows = operators["rows"].sum()
        return f"<checkpoint {self.id} of {self._manifest.job}: {rows:,} rows of state>\n{operators}"


class Checkpoints:
    """The checkpoints of a job, oldest first: shown as a table, opened by id (``job.checkpoints[7]``).

    Whatever goes by place, as in a list, means those that can be opened: ``job.checkpoints[-1]`` is the newest,
    ``job.checkpoints[-3:]`` a list of the last three, ``len(job.checkpoints)`` how many there are.

    Parameters
    ----------
    history
        What is known of them.
    blobs
        Where they are kept.
    """

    def __init__(self, history: Sequence[CheckpointStatus], blobs: Blobs) -> None:
        self._history = tuple(history)
        self._blobs = blobs

    def to_frame(self) -> pl.DataFrame:
        """Return the table of checkpoints, also of those that failed or are no longer kept."""
        told = [name for name in SCHEMA if name not in {"triggered", "operators"}]
        rows = [
            {
                **{name: getattr(one, name) for name in told},
                "triggered": one.triggered_us,
                "operators": self._operators(one),
            }
            for one in self._history
        ]
        return pl.DataFrame(rows, schema={**SCHEMA, "triggered": pl.Int64()}).cast({"triggered": SCHEMA["triggered"]})

    def _operators(self, status: CheckpointStatus) -> list[dict[str, object]] | None:
        """Return how much state each operator has in a checkpoint, all subtasks together; None when it is not there."""
        if status.state != "complete":
            return None
        try:
            held = self[status.id].operators
        except (CheckpointError, OptionError):
            return None
        return held.group_by("operator", maintain_order=True).agg(pl.col("rows", "size_bytes").sum()).to_dicts()

    @property
    def ids(self) -> list[int]:
        """Ids of those that the job keeps, which can be opened."""
        return [one.id for one in self._history if one.state == "complete"]

    @overload
    def __getitem__(self, checkpoint_id: int) -> Checkpoint: ...
    @overload
    def __getitem__(self, checkpoint_id: slice) -> list[Checkpoint]: ...
    def __getitem__(self, checkpoint_id: int | slice) -> Checkpoint | list[Checkpoint]:
        """Open one by its id, or some by their places among those that can be opened.

        Raises
        ------
        OptionError
            If there is no such checkpoint.
        CheckpointError
            If it is damaged.
        """
        if isinstance(checkpoint_id, slice):
            return list(self._opened(self.ids[checkpoint_id]))
        try:
            return Checkpoint(self._blobs, ManifestStore(self._blobs).get(self.id_of(checkpoint_id)))
        except CheckpointError as error:
            if error.matter != "missing":
                raise
        raise self._unknown(checkpoint_id)

    def id_of(self, checkpoint_id: object) -> int:
        """Return the id that is meant: -1 is the newest. Raises OptionError when there is no such checkpoint.

        One that the job keeps no longer can be meant, too, while somebody holds it (``job.hold(7)``).
        """
        ids = self.ids
        if isinstance(checkpoint_id, int) and not isinstance(checkpoint_id, bool):
            if checkpoint_id < 0 and len(ids) >= -checkpoint_id:
                return ids[checkpoint_id]
            if checkpoint_id in ids or self._is_held(checkpoint_id):
                return checkpoint_id
        raise self._unknown(checkpoint_id)

    def _is_held(self, checkpoint_id: int) -> bool:
        """Return whether one that the job wants to delete is there all the same."""
        is_old = any(one.id == checkpoint_id and one.state == "deleted" for one in self._history)
        return is_old and checkpoint_id in ManifestStore(self._blobs).ids()

    def _unknown(self, checkpoint_id: object) -> OptionError:
        ids = self.ids
        hint = f"there are {', '.join(map(str, ids)) or 'none'}"
        if ids:
            by_place = f"the oldest is job.checkpoints[{ids[0]}], the newest job.checkpoints[-1]"
            hint += f", and ids begin at 1: {by_place}" if checkpoint_id == 0 else f": {by_place}"
        needed = "the id of a complete checkpoint that is still kept"
        return OptionError(explained("checkpoints", needed=needed, got=repr(checkpoint_id), hint=hint))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, checkpoint: object) -> bool:
        return (checkpoint.id if isinstance(checkpoint, Checkpoint) else checkpoint) in self.ids

    def __iter__(self) -> Iterator[Checkpoint]:
        """Open those that can be opened, oldest first; one that was deleted meanwhile is left out."""
        return self._opened(self.ids)

    def __reversed__(self) -> Iterator[Checkpoint]:
        return self._opened(self.ids[::-1])

    def _opened(self, ids: Sequence[int]) -> Iterator[Checkpoint]:
        for checkpoint_id in ids:
            with suppress(OptionError):
                yield self[checkpoint_id]

    def __repr__(self) -> str:
        return repr(self.to_frame())

    def _repr_html_(self) -> str:
        html: str = self.to_frame()._repr_html_()
        return html
