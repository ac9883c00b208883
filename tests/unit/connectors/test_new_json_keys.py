"""Keys that come in JSON lines after the schema was learnt: they are left out, and that is said once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import streamlab as sl
from streamlab.connectors.formats.ndjson_keys import NewKeys

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
