"""What a recording says about itself beside its rows: which source it was made of, and the columns.

A recording is a folder with ``recording.json``, ``schema.arrow`` (no rows) and one folder for each split, which holds
the split's log and, in ``split.json``, its id.
"""

from __future__ import annotations

import re
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import msgspec
import polars as pl

from streamlab.connectors.contracts.source import Source, Timing
from streamlab.connectors.files.durable_files import make_folder, read_plain, replace_file
from streamlab.connectors.formats.base import differences
from streamlab.connectors.recording.recording_log import unreadable
from streamlab.core.errors import PlanError, SourceError, explained
from streamlab.core.event_time.time import Duration

NOTES = "recording.json"
SCHEMA = "schema.arrow"
SPLIT = "split.json"
_VERSION = 1
_MAX_NAME = 100
_NEWEST = pl.CompatLevel.newest()


class RecordingNotes(msgspec.Struct, frozen=True, omit_defaults=True):
    """Contents of ``recording.json``.

    Attributes
    ----------
    version : int
        Of the format.
    source, described : str
        Name of the recorded source, and its line in plans.
    event_time, watermark, max_advance : str | None
        What the job said about time.
    """

    version: int
    source: str
    described: str
    event_time: str | None = None
    watermark: str | None = None
    max_advance: str | None = None

    @property
    def timing(self) -> Timing:
        """What the job said about time, but for what only matters to rows that come live."""
        watermark, advance = self.watermark, self.max_advance
        return Timing(
            self.event_time,
            None if watermark is None else Duration.parse(watermark, name="watermark"),
            max_advance=None if advance is None else Duration.parse(advance, name="max_advance"),
        )


class _SplitNotes(msgspec.Struct, frozen=True):
    id: str


def check_recordable(source: Source) -> None:
    """Check that an Arrow file gives back the columns of a source.

    Raises
    ------
    PlanError
        If it does not, as with Python objects.
    """
    try:
        back = pl.read_ipc_stream(BytesIO(_empty(source.schema))).schema
    except pl.exceptions.PolarsError as error:
        got = f"columns that an Arrow file cannot hold: {error}"
        raise PlanError(explained(source.name, needed="columns that can be recorded", got=got)) from error
    lost = differences(source.schema, back)
    if lost:
        raise PlanError(explained(source.name, needed="columns that can be recorded", got="; ".join(lost)))


def write_notes(folder: Path, source: Source) -> None:
    """Write what is known of a source's recording, unless it is there.

    Raises
    ------
    SourceError
        If the folder holds a recording of other columns.
    OSError
        If files cannot be made there.
    """
    make_folder(folder)
    if (folder / NOTES).exists():
        known = read_schema(folder)
        if known != source.schema or known.names() != source.schema.names():
            found = differences(source.schema, known) or ["its columns are in another order"]
            needed = f"a recording of its own columns in {folder}"
            raise SourceError(explained(source.name, needed=needed, got="; ".join(found)))
        return
    timing = source.timing
    notes = RecordingNotes(
        _VERSION,
        source.name,
        source.describe(),
        timing.event_time,
        None if timing.watermark is None else str(timing.watermark),
        None if timing.max_advance is None else str(timing.max_advance),
    )
    replace_file(folder / SCHEMA, _empty(source.schema))
    replace_file(folder / NOTES, msgspec.json.format(msgspec.json.encode(notes)))


def read_notes(folder: Path) -> RecordingNotes:
    """Read ``recording.json``.

    Raises
    ------
    SourceError
        If it is not there, cannot be read, is damaged, or of a later version.
    """
    path = folder / NOTES
    try:
        notes = msgspec.json.decode(read_plain(path), type=RecordingNotes)
    except FileNotFoundError as error:
        raise SourceError(explained("recording", needed=f"the file {path}", got="that it is not there")) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceError(explained("recording", needed=f"what was written to {path}", got=str(error))) from error
    if notes.version != _VERSION:
        needed = f"a recording of version {_VERSION} in {folder}"
        got = f"one of version {notes.version}"
        raise SourceError(explained("recording", needed=needed, got=got, hint="a later streamlab wrote it"))
    return notes


def read_schema(folder: Path) -> pl.Schema:
    """Read the columns of a recording.

    Raises
    ------
    SourceError
        If the file is missing or damaged.
    """
    path = folder / SCHEMA
    try:
        return pl.read_ipc_stream(read_plain(path)).schema
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise SourceError(explained("recording", needed=f"the columns in {path}", got=str(error))) from error


def split_folder(folder: Path, split: str) -> Path:
    """Return where a split's log is.

    >>> split_folder(Path("r"), "127.0.0.1:9000").as_posix(), split_folder(Path("r"), "..").as_posix()
    ('r/127.0.0.1%3A9000', 'r/%2E.')
    """
    name = re.sub(r"^\.", "%2E", quote(split, safe=" ,+=@()[]")) or "%"
    if len(name) > _MAX_NAME:
        name = f"{name[: _MAX_NAME // 2]}-{sha256(split.encode()).hexdigest()[:32]}"
    return folder / name


def write_split(folder: Path, split: str) -> None:
    """Write a split's id into its folder. Raises OSError if that is not possible."""
    make_folder(folder)
    if not (folder / SPLIT).exists():
        replace_file(folder / SPLIT, msgspec.json.encode(_SplitNotes(split)))


def read_splits(folder: Path) -> dict[str, Path]:
    """Return the folders of all splits of a recording by their ids.

    Raises
    ------
    SourceError
        If a split's file is damaged.
    """
    found = {}
    for path in sorted(folder.glob(f"*/{SPLIT}")):
        try:
            found[msgspec.json.decode(read_plain(path), type=_SplitNotes).id] = path.parent
        except OSError as error:
            raise unreadable(path, error) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SourceError(explained("recording", needed=f"what was written to {path}", got=str(error))) from error
    return found


def _empty(schema: pl.Schema) -> bytes:
    body = BytesIO()
    pl.DataFrame(schema=schema).write_ipc_stream(body, compat_level=_NEWEST)
    return body.getvalue()
