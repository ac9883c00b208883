"""Keys that come in JSON lines after the schema was learnt: they are left out, and that is said once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import streamlab as sl
from streamlab.connectors.files.files import scan_ndjson
from streamlab.connectors.formats.ndjson_keys import NewKeys
from streamlab.connectors.reading.reader import SourceReader
from streamlab.core.messages import DEAD_LETTERS, Batch

SCHEMA = pl.Schema({"a": pl.Int64(), "s": pl.String(), "in": pl.Struct({"x": pl.Int64()}), "l": pl.List(pl.Int64())})


def told(text: str, schema: pl.Schema = SCHEMA) -> list[tuple[int, str]]:
    data = text.encode()
    rows = pl.read_ndjson(data, schema=schema)
    return [(line, reason.split("'")[1]) for line, reason, _ in NewKeys(schema).found(data, 10, rows)]


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ('{"a":1}\n{"a":2,"s":"x","in":{"x":1},"l":[1,2]}\n', []),
        ('{"a" : 1, "s" : null}\n{"a": 2, "in": {"x": null}}\n', []),
        ('{"a":1,"s":"not a \\"key\\":1"}\n', []),
        ('{"a":1}\n{"a":2,"err":"full"}\n{"err":"again"}\n', [(11, "err")]),
        ('{"err":1}\n', [(10, "err")]),
        ('{"a":1}\n{"in":{"x":1,"y":2}}\n', [(11, "in.y")]),
        ('{"a" : 1, "err" : 2}\n', [(10, "err")]),
        ('{"l":[1]}\n{"o":[{"p":1}]}\n', [(11, "o")]),
    ],
)
def test_new_keys_are_found(text: str, new: list[tuple[int, str]]) -> None:
    assert told(text) == new


@pytest.mark.parametrize("bad", ["{", '{"a":"no number"}', '{"in":7}'])
def test_bad_lines_beside_them_hide_none(bad: str) -> None:
    data = f'{{"a":1}}\n{bad}\n{{"a":2,"err":"full"}}\n{{"a":3,"größe":1}}\n'.encode()
    rows = pl.DataFrame({"a": [1, 2, 3]}, schema_overrides=SCHEMA)
    found = NewKeys(SCHEMA).found(data, 10, rows)
    assert [(line, reason.split("'")[1]) for line, reason, _ in found] == [(12, "err"), (13, "größe")]


def test_keys_in_structs_in_lists() -> None:
    schema = pl.Schema({"l": pl.List(pl.Struct({"x": pl.Int64()}))})
    assert told('{"l":[{"x":1},{"x":2}]}\n{"l":[]}\n{"l":null}\n', schema) == []
    assert told('{"l":[{"x":1},{"x":2}]}\n{"l":[{"x":1,"y":1}]}\n', schema) == [(11, "l.y")]


def test_the_line_of_a_nested_key_is_that_of_the_key_not_of_its_name_elsewhere() -> None:
    schema = pl.Schema({"a": pl.String(), "in": pl.Struct({"x": pl.Int64()}), "y": pl.Int64()})
    text = '{"a":"\\"y\\":"}\n{"y":1}\n{"a":"y","in":{"x":1}}\n{"in":{"x":1,"y":2}}\n{"in":{"y":3}}\n'
    assert told(text, schema) == [(13, "in.y")]


def test_a_key_in_a_list_and_one_with_escaped_letters_are_found_in_their_lines() -> None:
    schema = pl.Schema({"l": pl.List(pl.Struct({"x": pl.Int64()})), "y": pl.Int64()})
    assert told('{"y":1}\n{"l":[{"x":1}]}\n{"l":[{"x":1},{"y":1}]}\n', schema) == [(12, "l.y")]
    assert told('{"y":1}\n{"y":2,"\\u0061bc":1}\n{"abc":2}\n', schema) == [(11, "abc")]


def test_a_name_with_a_dot_is_one_key() -> None:
    assert told('{"a":1}\n{"in.x":1,"in":{"x":1}}\n') == [(11, "in.x")]


def test_a_text_that_reads_like_null_hides_no_key() -> None:
    assert told('{"s":"x:null"}\n{"s":"x: null","new":1}\n') == [(11, "new")]


def test_no_more_than_a_hundred_keys_are_said_of_a_file() -> None:
    rows = "".join(f'{{"a":1,"k{n}":1}}\n' for n in range(300))
    keys = NewKeys(SCHEMA)
    found = keys.found(rows.encode(), 1, pl.DataFrame({"a": [1] * 300}))
    assert len(found) == 100
    assert found[-1][1].endswith("keys that come after this one are not said")
    assert keys.found(rows.encode(), 1, pl.DataFrame({"a": [1] * 300})) == []


@pytest.mark.parametrize("follow", [False, "append"])
@pytest.mark.parametrize("batch_rows", [1, 3, 1000])
def test_a_key_is_said_once_whatever_restarts(
    follow: object, batch_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("formats.text", "files.growing_reader"):
        monkeypatch.setattr(f"streamlab.connectors.{module}.CHUNK_BYTES", 64)
    path = tmp_path / "a.ndjson"
    more = [(',"err":1' * (n % 2), ',"z":1' * (n > 9)) for n in range(40)]
    lines = [f'{{"a":{n},"in":{{"x":1{z}}}{err}}}\n' for n, (err, z) in enumerate(more)]
    path.write_text("".join(lines))
    source = scan_ndjson(path, schema={"a": pl.Int64, "in": pl.Struct({"x": pl.Int64})}, follow=follow)
    snapshot, said, rows, now_us = None, [], 0, 10**15
    for _ in range(60):
        reader = SourceReader(source, source.splits(), snapshot=snapshot, batch_rows=batch_rows)
        now_us += 300_000
        for message in reader.poll(now_us):
            if isinstance(message, Batch) and message.tag == DEAD_LETTERS:
                said += message.collected()["reason"].to_list()
            elif isinstance(message, Batch):
                rows += message.collected().height
        snapshot = reader.snapshot()
        reader.close()
    assert rows == 40
    assert [reason.split("'")[1] for reason in said] == ["err", "in.z"]


def test_what_comes_behind_the_sample_is_said_once_and_its_rows_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"a":1}\n' * 150_000 + '{"a":2,"err":"disk full"}\n' * 500)
    job = sl.scan_ndjson(path).start(parallelism=1)
    job.wait(60)
    assert job.results().height == 150_500
    (letter,) = job.dead_letters().rows(named=True)
    assert letter["reason"].startswith("key 'err' is not in the schema")
    assert letter["input"] == '{"a":2,"err":"disk full"}'


def test_under_coerce_keys_are_left_out_as_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"a":1,"b":2}\n')
    scan = sl.scan_ndjson(path, schema={"a": pl.Int64}, schema_policy="coerce")
    assert scan.collect(dead_letters=True)[1].height == 0
