"""Every shape of Polars' JSON form that is known, pinned: when Polars changes one, this says which."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import polars.selectors as cs
import pytest

from streamlab.plan.expressions import tree as trees
from streamlab.plan.expressions.known import taker_of
from streamlab.plan.expressions.rowwise import examine_tree
from streamlab.plan.expressions.tree import UnknownShape

SHAPES = json.loads((Path(__file__).parent / "expression_shapes.json").read_text("utf-8"))
NAMES = {"pl": pl, "cs": cs}


@pytest.mark.parametrize("source", SHAPES)
def test_polars_still_writes_the_shape_that_is_known(source: str) -> None:
    assert trees.to_tree(eval(source, NAMES)) == SHAPES[source]


@pytest.mark.parametrize("source", SHAPES)
def test_trees_come_back_as_the_same_expression(source: str) -> None:
    expression = eval(source, NAMES)
    tree = trees.to_tree(expression)
    assert trees.to_expr(tree).meta == expression
    assert trees.with_children(tree, lambda child: child) == tree
    assert len(list(trees.walk(tree))) > len(trees.children(tree))
    assert trees.in_words(tree)


def test_rewriting_leaves_the_old_tree_alone() -> None:
    for source in SHAPES:
        tree = json.loads(json.dumps(SHAPES[source]))
        changed = trees.with_children(tree, lambda _: trees.column("changed"))
        assert tree == SHAPES[source]
        assert all(child == trees.column("changed") for child in trees.children(changed))


def test_every_kind_that_is_read_is_pinned() -> None:
    pinned = {trees.kind(node) for shape in SHAPES.values() for node in trees.walk(shape)}
    python = {"AnonymousFunction"}  # holds a pickled function, which differs from one Python to the next
    assert pinned | python == set(trees.CHILDREN) | {"Agg"}
    aggregations = {trees.operation(shape) for shape in SHAPES.values() if trees.kind(shape) == "Agg"}
    assert aggregations == set(trees.AGGREGATIONS)


def test_python_functions_say_how_they_look_at_rows() -> None:
    flags = {}
    for name, options in {"whole": {}, "rows": {"is_elementwise": True}, "scalar": {"returns_scalar": True}}.items():
        tree = trees.to_tree(pl.col("a").map_batches(lambda s: s, **options))
        assert trees.kind(tree) == "AnonymousFunction"
        assert trees.children(tree) == [trees.column("a")]
        flags[name] = trees.body(tree)["options"]["flags"]
    by_element = trees.to_tree(pl.col("a").map_elements(repr, return_dtype=pl.String))
    assert trees.body(by_element)["options"]["flags"] == flags["rows"]
    assert flags == {
        "whole": "OPTIONAL_RE_ENTRANT",
        "rows": "OPTIONAL_RE_ENTRANT | ROW_SEPARABLE | LENGTH_PRESERVING",
        "scalar": "RETURNS_SCALAR | OPTIONAL_RE_ENTRANT",
    }


@pytest.mark.parametrize(
    "tree",
    [
        {"Future": {"input": {"Column": "a"}}},
        {"Agg": {"Future": {"Column": "a"}}},
        {"Filter": {"rows": {"Column": "a"}}},
        {"Agg": {}},
        {"two": 1, "members": 2},
        [],
        None,
    ],
)
def test_what_is_not_known_is_refused(tree: object) -> None:
    with pytest.raises(UnknownShape):
        list(trees.walk(tree))


def test_operations_are_named_as_users_know_them() -> None:
    names = {
        "cum_sum": pl.col("a").cum_sum(),
        "rolling_mean": pl.col("a").rolling_mean(2),
        "rolling_mean_by": pl.col("a").rolling_mean_by("t", "1h"),
        "n_unique": pl.col("a").n_unique(),
        "first": pl.col("a").first(ignore_nulls=True),
        "str.len_chars": pl.col("a").str.len_chars(),
        "dt.truncate": pl.col("a").dt.truncate("1h"),
        "list.sum": pl.col("a").list.sum(),
        "bitwise_and": pl.col("a").bitwise_and(),
        "corr": pl.corr("a", "b"),
        "cov": pl.cov("a", "b"),
        "over(...)": pl.col("a").over("b"),
    }
    assert [trees.in_words(trees.to_tree(expression)) for expression in names.values()] == list(names)


@pytest.mark.parametrize(
    "tree",
    [
        {"Function": {"input": [{"Column": "a"}]}},
        {"AnonymousFunction": {"input": [{"Column": "a"}], "options": {}}},
        {"Gather": {"expr": {"Column": "a"}, "idx": {"Column": "b"}}},
        {"Eval": {"expr": {"Column": "a"}, "evaluation": "Element"}},
    ],
    ids=str,
)
def test_a_known_node_without_its_options_is_refused(tree: object) -> None:
    with pytest.raises(UnknownShape):
        examine_tree(tree)


@pytest.mark.parametrize(
    "tree",
    [
        {"Agg": {"Min": {"input": {"Column": "a"}}}},
        {"Agg": {"Min": "Len"}},
        {"Function": {"input": [{"Column": "a"}], "function": {"Boolean": "Any"}}},
        {"Function": {"input": [{"Column": "a"}], "function": {"Boolean": {"Any": {"ignore_nulls": "perhaps"}}}}},
    ],
    ids=str,
)
def test_an_aggregation_with_other_options_is_not_one_that_is_known(tree: object) -> None:
    assert taker_of(tree) is None
