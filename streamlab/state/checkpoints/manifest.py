"""What a checkpoint says, as values that travel as msgpack and are stored as JSON; nothing here needs Polars.

A checkpoint is a *manifest* and the files that it names. The manifest holds, for every task, the state of its
operators as references to content-addressed files, the positions of its source's splits, and what commits its sink's
transaction. A savepoint has the same form, with its files beside it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

FORMAT = 3
"""Version of the manifest's form. Later versions read earlier ones.

2: splits that have ended may be known by their ids only (:class:`StoredFinished`), and `splits` of a source that
discovers them names those that have not ended, whenever they were found.
3: columns of ours begin with :data:`.own_columns.PREFIX`, in frames and in what is said of steps; keys belong to key
groups, and large frames are stored by them.
Manifests of earlier formats stay as they are; what is read of them is brought into this form by `former_formats`.
"""

Scalar = int | float | str | bool | None
Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Position = int | str | tuple[int | str, ...]
StoredRecording = dict[str, tuple[tuple[int, "StoredFrame"], ...]]
"""By split: files of records as they lie in a recording, and the number of the first record of each."""
StoredTransaction = tuple[tuple[str, str], ...]


class StoredFrame(msgspec.Struct, frozen=True, array_like=True):
    """A frame in a file whose name is its content's hash."""

    sha256: Digest
    """Lower-case hexadecimal; also the file's name."""
    size_bytes: Count
    """Length of the file."""
    rows: Count
    first_group: Count = 0
    """Key group of the first of its rows; other files of the same state hold other groups."""
    end_group: Count = 0
    """The group behind that of the last one; 0: its rows are of any groups."""


class StoredState(msgspec.Struct, frozen=True):
    """State of one operator of one subtask: a :class:`~streamlab.state.snapshot.Snapshot` whose frames are stored."""

    keyed: dict[str, tuple[StoredFrame, ...]] = {}
    values: dict[str, Scalar] = {}
    key_columns: tuple[str, ...] = ()


class StoredSplit(msgspec.Struct, frozen=True):
    """How far a split was given out."""

    position: Position
    skip: int
    """Good rows after the position that were given out too."""
    watermark_us: int
    finished: bool
    rows: int = 0
    """Good rows that were given out."""
    bytes: int = 0
    """Bytes of its file that they are written in."""


class StoredFinished(msgspec.Struct, frozen=True):
    """Ids of splits that have ended: :class:`~streamlab.connectors.reading.finished_splits.FinishedSplits`."""

    ranges: dict[str, tuple[int, ...]] = {}
    packed: tuple[str, ...] = ()


class KnownSplit(msgspec.Struct, frozen=True):
    """A split as its source listed it when the job began, or found it later; so a recovery reads the same."""

    id: str
    rows: int | None = None
    min_time_us: int | None = None
    first_time_us: int | None = None
    bytes: int | None = None


class StoredSource(msgspec.Struct, frozen=True):
    """Positions and watermarks of the splits that one subtask has begun; of those that have ended, of the last only."""

    splits: dict[str, StoredSplit]
    watermark_us: int
    latest_us: int | None
    finished: StoredFinished = StoredFinished()
    """The splits besides that have ended."""
    found: tuple[KnownSplit, ...] | None = None
    """Of a source that discovers splits: those that have not ended. Manifests have them in `splits`, and None here."""


class TaskOrder(msgspec.Struct, frozen=True):
    """Where a task stood between its inputs and its outputs, so that it goes on as if nothing had happened."""

    current: int
    """The watermark of its inputs together, as it was given out, µs."""
    idle: bool
    """Whether all of them were idle."""
    channels: tuple[tuple[int, bool, bool, bool], ...]
    """Of each input the watermark, and whether it was idle, aligned, ended."""
    routes: tuple[int, ...]
    """Of each outgoing edge the subtask that gets the next batch of a round robin."""
    turns: int | None = None
    """How many turns of a job that it replays the task had followed; None when it follows none."""


class TaskState(msgspec.Struct, frozen=True):
    """What one subtask of one vertex put into a checkpoint."""

    vertex: str
    subtask: int
    operators: dict[str, StoredState] = {}
    """By the name of the step."""
    source: StoredSource | None = None
    pending: tuple[StoredTransaction, ...] = ()
    """What commits the sink's transactions, in order: those of abandoned checkpoints go with the next one."""
    finished: bool = False
    """Whether the task had come to its end: it gives nothing any more, and its state is empty."""
    counters: dict[str, int] = {}
    """What the task had counted (rows in and out, late rows, dead letters), so that figures go on after a restore."""
    order: TaskOrder | None = None
    """None of a task that had ended."""
    new_bytes: int = 0
    """Bytes of the files that were written for this checkpoint and not found in an earlier one."""
    alignment_us: int = 0
    """From the first barrier at one of its inputs to the last."""
    duration_us: int = 0
    """From the snapshot to the last file being durable."""

    @property
    def files(self) -> frozenset[StoredFrame]:
        """The files that it needs."""
        return frozenset(
            frame for state in self.operators.values() for frames in state.keyed.values() for frame in frames
        )


class StoredFact(msgspec.Struct, frozen=True, array_like=True):
    """A :class:`~streamlab.state.forms.Fact`."""

    name: str
    value: str
    written: str = ""


class StoredColumn(msgspec.Struct, frozen=True, array_like=True):
    """How a column of state is :class:`~streamlab.state.forms.Shown`."""

    name: str
    is_time: bool = False
    zone: str = ""


class StoredStep(msgspec.Struct, frozen=True):
    """A step that keeps state: how another query can tell whether it can go on with that, and how it is shown."""

    name: str
    """By which state is found; that of a source is also the id of its vertex."""
    vertex: str
    """Where it ran."""
    base: str
    """The name without the number that tells it from steps that are alike."""
    path: str
    """Hash of the step and of all that it was fed by."""
    kind: str
    """Of its state."""
    is_source: bool = False
    facts: tuple[StoredFact, ...] = ()
    """What must be the same of a step that goes on with the state."""
    columns: dict[str, StoredColumn] = {}
    """How columns are shown that users have not named."""
    title: str = ""
    """What users saw of it; empty in older checkpoints: its name."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole checkpoint."""

    format: int = FORMAT
    polars: str
    """Version of Polars that wrote it: another one may give keys to other groups."""
    job: str
    """Id of the job."""
    id: Count
    kind: Literal["checkpoint", "savepoint"] = "checkpoint"
    attempt: int
    """Attempt of the job that took it."""
    fingerprint: str
    """Hash of the plan: the same plan gives the same rows from here on."""
    parallelism: dict[str, int]
    """Subtasks of each vertex."""
    splits: dict[str, tuple[KnownSplit, ...]]
    """Splits of each source, by vertex; of one that discovers them all that are known and have not ended."""
    steps: tuple[StoredStep, ...] = ()
    """The steps that keep state; none in checkpoints that were taken before they were described."""
    recordings: dict[str, StoredRecording] = {}
    """By source, in savepoints: what was recorded of it and not yet read, and the last record before that."""
    tasks: tuple[TaskState, ...]
    triggered_us: int
    """Wall clock when the barriers were sent."""
    completed_us: int
    """Wall clock when every task had acknowledged."""

    @property
    def files(self) -> frozenset[StoredFrame]:
        """The files that it needs."""
        recorded = (file for splits in self.recordings.values() for parts in splits.values() for _, file in parts)
        return frozenset(frame for task in self.tasks for frame in task.files) | frozenset(recorded)

    @property
    def size_bytes(self) -> int:
        """Length of all its files; those that several tasks or checkpoints share count once."""
        return sum(frame.size_bytes for frame in self.files)
