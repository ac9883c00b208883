"""Frames in files: every dtype comes back as it was, equal bytes are stored once, nothing of pickle is touched."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import pickle
from decimal import Decimal
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
import pytest
from checkpoint_kit import DictBlobs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes

from streamlab.core.errors import CheckpointError, StateError
from streamlab.state.checkpoints.blobs import LocalBlobs, open_blobs
from streamlab.state.checkpoints.contents import file_name
from streamlab.state.checkpoints.manifest import StoredFrame
from streamlab.state.checkpoints.state_files import StateFiles

NAN = float("nan")
COLUMNS: dict[str, tuple[pl.DataType, list[Any]]] = {
    "null": (pl.Null(), [None, None]),
    "bool": (pl.Boolean(), [True, None, False] * 7),
    "int128": (pl.Int128(), [2**126, -(2**126), None]),
    "uint128": (pl.UInt128(), [2**127, 0, None]),
    "uint64": (pl.UInt64(), [2**64 - 1, None]),
    "float16": (pl.Float16(), [0.5, NAN, None]),
    "float64": (pl.Float64(), [0.0, -0.0, NAN, float("inf"), -float("inf"), 5e-324, None]),
    "decimal": (pl.Decimal(38, 10), [Decimal("-1.0000000001"), Decimal(0), None]),
    "string": (pl.String(), ["", "a\0b", "ä longer text than a view holds in itself", None]),
    "binary": (pl.Binary(), [b"", b"\xff\0" * 20, None]),
    "date": (pl.Date(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    "time": (pl.Time(), [dt.time(23, 59, 59, 999_999), None]),
    "duration": (pl.Duration("ns"), [dt.timedelta(days=-3), None]),
    "datetime": (pl.Datetime("us", "Europe/Berlin"), [dt.datetime(1933, 3, 3, tzinfo=dt.UTC), None]),
    "enum": (pl.Enum(["x", "ä", "never"]), ["ä", "x", None]),
    "categorical": (pl.Categorical(), ["b", "a", "b", None]),
    "own categories": (pl.Categorical(pl.Categories("checkpoint test", physical=pl.UInt8)), ["b", "a", None]),
    "list": (pl.List(pl.Int64()), [[1, None], [], None]),
    "list of categories": (pl.List(pl.Categorical()), [["q", None], [], None]),
    "array": (pl.Array(pl.Float32(), 2), [[1.0, NAN], None]),
    "struct": (
        pl.Struct({"a": pl.List(pl.Enum(["x"])), "b": pl.Struct({"c": pl.Decimal(10, 2)})}),
        [{"a": ["x", None], "b": {"c": Decimal("1.25")}}, {"a": None, "b": {"c": None}}, None],
    ),
    "map": (pl.Map(pl.String(), pl.Int64()), [{"a": 1}, {}, None]),
}


def column(name: str) -> pl.DataFrame:
    dtype, values = COLUMNS[name]
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype)})


def same(read: pl.DataFrame, written: pl.DataFrame) -> None:
    assert read.schema == written.schema
    assert read.shape == written.shape
    assert read.equals(written, null_equal=True)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("location", ["folder", "memory"])
def test_every_dtype_comes_back(name, location, tmp_path):
    files = StateFiles(open_blobs(str(tmp_path) if location == "folder" else f"memory://dtypes/{tmp_path.name}"))
    frame = column(name)
    for written in (frame, frame.clear(), frame[1:], frame.reverse(), pl.concat([frame, frame], rechunk=False)):
        stored, _ = files.put(written)
        read = files.get(stored)
        same(read, written)
        assert stored.rows == written.height
        # Rows that are there can be worked on, not only compared.
        same(pl.concat([read, written]), pl.concat([written, written]))
        # A frame gives the same bytes each time; what was read gives no other ones for ever.
        assert files.put(written) == (stored, 0)
        again, _ = files.put(read)
        assert files.put(files.get(again)) == (again, 0)


@pytest.mark.parametrize("frame", [pl.DataFrame(), pl.DataFrame(height=5), pl.DataFrame(schema={"a": pl.Int8})])
def test_frames_without_columns_or_rows_come_back(frame):
    files = StateFiles(DictBlobs())
    same(files.get(files.put(frame)[0]), frame)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(dataframes(max_size=8, allow_null=True, excluded_dtypes=[pl.Categorical]))
def test_any_frame_comes_back(frame):
    files = StateFiles(DictBlobs())
    assert_frame_equal(files.get(files.put(frame)[0]), frame, categorical_as_str=True)


def test_equal_bytes_are_written_once_whoever_writes_them():
    blobs = DictBlobs()
    frame = column("string")
    stored, new_bytes = StateFiles(blobs).put(frame)
    assert new_bytes == stored.size_bytes == len(blobs.data[file_name(stored)])
    written: list[str] = []
    blobs.before = lambda operation, name: written.append(operation)
    again = StateFiles(blobs)
    assert again.put(frame.clone()) == (stored, 0)
    # Read once, then known.
    assert written == ["size", "get"]
    assert again.put(frame) == (stored, 0)
    assert written == ["size", "get", "size"]
    again.forget_except(frozenset())
    assert again.put(frame) == (stored, 0)
    assert written[-2:] == ["size", "get"]


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-1], lambda data: bytes(len(data)), lambda data: b"", lambda d: None]
)
def test_a_damaged_file_is_written_anew_not_relied_on(harm):
    blobs = DictBlobs()
    frame = column("struct")
    stored, size = StateFiles(blobs).put(frame)
    damaged = harm(blobs.data.pop(file_name(stored)))
    if damaged is not None:
        blobs.data[file_name(stored)] = damaged
    assert StateFiles(blobs).put(frame) == (stored, size)
    same(StateFiles(blobs).get(stored), frame)


def test_a_file_that_was_collected_is_written_again():
    blobs = DictBlobs()
    files = StateFiles(blobs)
    stored, size = files.put(column("bool"))
    blobs.delete(file_name(stored))
    assert files.put(column("bool")) == (stored, size)


def test_a_few_rows_of_a_large_frame_make_a_small_file():
    files = StateFiles(DictBlobs())
    large = pl.DataFrame(
        {"n": range(100_000), "text": [f"a text that is longer than a view: {n}" for n in range(100_000)]}
    )
    for few in (large[500:510], large.filter(pl.col("n") % 10_000 == 7), large.sample(10, seed=1)):
        assert few.height == 10
        assert files.put(few)[0].size_bytes < 5_000


class Trap:
    """Unpickling it would be seen."""

    sprung: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return spring, ("sprung",)


def spring(text: str) -> None:
    Trap.sprung.append(text)


def test_python_objects_are_refused_by_column():
    files = StateFiles(DictBlobs())
    with pytest.raises(StateError, match=r"\['thing'\]"):
        files.put(pl.DataFrame({"n": [1], "thing": pl.Series([Trap()], dtype=pl.Object)}))


def arrow_file(field: pa.Field, values: list[Any]) -> bytes:
    table = pa.table([pa.array(values, field.type)], schema=pa.schema([field]))
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def forged(blobs: DictBlobs, data: bytes, rows: int) -> StoredFrame:
    """Store bytes of an attacker's choice with the right hash."""
    stored = StoredFrame(hashlib.sha256(data).hexdigest(), len(data), rows)
    blobs.data[file_name(stored)] = data
    return stored


@pytest.mark.parametrize(
    "extension", ["arrow.py_extension_type", "pandas.object", "POLARS_EXTENSION_TYPE", "polars.python_object"]
)
def test_pickles_in_arrow_files_stay_bytes(extension):
    blobs = DictBlobs()
    pickled = pickle.dumps(Trap(), protocol=0)
    marks = {"ARROW:extension:name": extension, "ARROW:extension:metadata": pickled.decode("latin-1")}
    data = arrow_file(pa.field("x", pa.binary(), metadata=marks), [pickled])
    files = StateFiles(blobs)
    stored = forged(blobs, data, 1)
    read = files.get(stored)
    assert read.schema["x"].is_extension()
    assert pickled in blobs.data[file_name(files.put(read)[0])]
    assert Trap.sprung == []
    # The trap would have worked.
    pickle.loads(pickled)
    assert [Trap.sprung.pop()] == ["sprung"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ARROW1",
        b"ARROW1\0\0" + b"\xff" * 64 + b"ARROW1",
        pickle.dumps({"a": 1}),
        b"PAR1" * 4,
        b"a,b\n1,2\n",
        bytes(200),
    ],
)
def test_what_is_no_arrow_file_is_damage(data):
    blobs = DictBlobs()
    stored = forged(blobs, data, 0)
    with pytest.raises(CheckpointError, match=stored.sha256) as damaged:
        StateFiles(blobs).get(stored)
    assert damaged.value.matter == "damaged"


def test_another_number_of_rows_is_damage():
    blobs = DictBlobs()
    stored, _ = StateFiles(blobs).put(column("bool"))
    with pytest.raises(CheckpointError, match="3 rows"):
        StateFiles(blobs).get(StoredFrame(stored.sha256, stored.size_bytes, 3))


def test_anyone_can_open_a_file(tmp_path):
    files = StateFiles(LocalBlobs(tmp_path))
    frame = pl.DataFrame({"key": ["a", None], "n": [1, 2]})
    stored, _ = files.put(frame)
    with pa.OSFile(str(tmp_path / file_name(stored))) as file:
        assert pl.DataFrame(pa.ipc.open_file(file).read_all()).equals(frame)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True))
def test_columns_come_back_beside_each_other(names):
    height = min(len(COLUMNS[name][1]) for name in names)
    frame = pl.concat([column(name)[:height].rename({"x": name}) for name in names], how="horizontal")
    files = StateFiles(DictBlobs())
    same(files.get(files.put(frame)[0]), frame)
