"""Selectors and arguments of ``agg`` become one expression for each output column, as Polars would do it."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
import pytest

from streamlab.core.errors import OptionError
from streamlab.plan.expressions import expand, output_columns, parse

FRAME = pl.DataFrame(
    {
        "k": [1, 1, 2],
        "a": [1, None, 3],
        "b": [0.5, 1.5, None],
        "s": ["x", "y", None],
        "p": [{"u": 1, "v": 2}, {"u": 3, "v": 4}, None],
    }
)
K = pl.col("k")

IN_AGG = {
    "all": pl.all().first(),
    "exclude": pl.exclude("s", "p").sum(),
    "numeric": cs.numeric().max(),
    "names": pl.col("a", "b").mean().name.suffix("_m"),
    "prefix": pl.col("b", "a").sum().name.prefix("p_"),
    "mapped": pl.all().count().name.map(str.upper),
    "dtype": pl.col(pl.Float64).sum(),
    "regex": pl.col("^[ab]$").sum(),
    "nth": pl.nth(1, 2).sum(),
    "set": (cs.numeric() - cs.float()).sum(),
    "in step": (pl.col("a", "b") * pl.col("b", "a")).sum(),
    "with one": (pl.col("a", "b") * K).sum(),
    "filter": pl.col("a", "b").filter(pl.col("a", "b") > 1).sum(),
    "struct of all": pl.struct(pl.all()).first().alias("row"),
    "horizontal": pl.sum_horizontal(cs.numeric()).sum().alias("t"),
    "one": pl.col("a").sum(),
    "aliased": pl.col("a").sum().alias("z"),
    "kept": (pl.col("a", "b") + 1).name.keep().sum(),
    "len": pl.len(),
    "literal": pl.lit(1),
    "none": cs.temporal().sum(),
    "key": K.sum().alias("keys"),
    "struct fields": pl.col("p").struct.unnest().first(),
    "struct of expressions": pl.struct(cs.numeric() + 1).first().alias("n"),
}
SPLITTABLE = set(IN_AGG) - {"struct fields", "struct of expressions"}


@pytest.mark.parametrize("name", IN_AGG)
def test_expanded_in_agg_it_gives_what_polars_gives(name: str) -> None:
    expanded = expand([IN_AGG[name]], FRAME.schema, [K])
    expected = FRAME.lazy().group_by("k", maintain_order=True).agg(IN_AGG[name]).collect()
    got = FRAME.lazy().group_by("k", maintain_order=True).agg(expanded).collect()
    assert got.schema == expected.schema
    assert got.equals(expected)
    if name in SPLITTABLE:
        assert [single.meta.output_name() for single in expanded] == expected.columns[1:]


@pytest.mark.parametrize("name", sorted(set(IN_AGG) - {"all"}))
def test_expanded_in_select_it_gives_what_polars_gives(name: str) -> None:
    expanded = expand([IN_AGG[name]], FRAME.schema)
    assert FRAME.select(expanded).equals(FRAME.select(IN_AGG[name]))


def test_keys_may_be_expressions() -> None:
    keys = [(K + 1).alias("next")]
    names = [single.meta.output_name() for single in expand([cs.numeric().sum()], FRAME.schema, keys)]
    assert names == FRAME.group_by(keys).agg(cs.numeric().sum()).columns[1:]


def test_expanding_again_changes_nothing() -> None:
    once = expand([pl.all().first(), pl.len()], FRAME.schema, [K])
    assert list(map(str, expand(once, FRAME.schema, [K]))) == list(map(str, once))


def test_output_columns() -> None:
    assert output_columns(cs.numeric().mean(), FRAME.schema, [K]) == [("a", pl.Float64()), ("b", pl.Float64())]
    assert output_columns(pl.len(), FRAME.schema) == [("len", pl.get_index_type())]


def test_a_misspelt_column_is_polars_own_error() -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        expand([pl.col("nope").sum()], FRAME.schema, [K])


ARGUMENTS = {
    "nothing": ((), {}),
    "expression": ((pl.len(),), {}),
    "names": (("a", "b"), {}),
    "list": ((["a", pl.col("b").sum()],), {}),
    "generator": (((pl.col(n).sum() for n in "ab"),), {}),
    "named": ((), {"x": pl.col("a").sum(), "y": "b", "one": 1}),
    "both": (("a",), {"n": pl.len()}),
    "number": ((1,), {}),
    "null": ((None,), {}),
    "series": ((pl.Series("z", [1]),), {}),
    "list among others": (("a", [1, 2]), {}),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_read_as_polars_reads_them(name: str) -> None:
    args, kwargs = ARGUMENTS[name]
    if name == "generator":
        args = (list(args[0]),)
    expected = FRAME.lazy().group_by("k", maintain_order=True).agg(*args, **kwargs).collect()
    got = FRAME.lazy().group_by("k", maintain_order=True).agg(*parse(*args, **kwargs)).collect()
    assert got.equals(expected)
    assert got.schema == expected.schema


def test_a_generator_is_read_once() -> None:
    assert [str(e) for e in parse(pl.col(n) for n in "ab")] == ['col("a")', 'col("b")']


def test_a_mapping_is_refused_with_the_next_move() -> None:
    with pytest.raises(OptionError, match="unpack it"):
        parse({"a": pl.len()})
