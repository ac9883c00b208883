"""Unbounded group-by: its folded changelog is Polars' result on all rows, whatever cuts, restarts and retractions."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.core.changelog import ROW_KIND, RowKind, fold
from streamlab.core.messages import Batch
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.operators.group_aggregate import GroupAggregateSpec, group_operators, local
from streamlab.operators.group_aggregate import accumulator_groups as partial_groups
from streamlab.plan.expressions.split import split_aggregates
from streamlab.state.snapshot import regroup, subtask_of

NAN = float("nan")
SCHEMA = pl.Schema({"k": pl.Float64, "s": pl.String, "n": pl.Int64, "x": pl.Float64})
KEYS: dict[str, tuple[pl.Expr, ...]] = {
    "none": (),
    "one": (pl.col("k"),),
    "two": (pl.col("s"), pl.col("k")),
    "computed": ((pl.col("n") % 2).alias("n"),),
    "renamed": (pl.col("s").alias("t"), pl.col("n") // 2),
}
AGGREGATES: dict[str, tuple[pl.Expr, ...]] = {
    "counts": (pl.len(), pl.col("s").count().alias("c"), pl.col("n").sum().alias("total")),
    "mean": (pl.col("x").mean(), (pl.col("n").mean() * 2).alias("m")),
    "extremes": (pl.col("n").max().alias("hi"), pl.col("x").min(), pl.col("s").max().alias("last_s")),
    "bounds": (pl.col("n").max().alias("hi"), pl.col("x").min(), pl.col("x").sum().alias("total")),
    "order": (pl.col("n").first().alias("f"), pl.col("x").last().alias("l")),
    "sets": (pl.col("n").n_unique().alias("u"), pl.col("x").var().alias("v")),
    "buffered": (pl.col("x").median(), pl.len(), pl.col("n").sum().alias("total")),
    "lists": (pl.col("n").unique().len().alias("u"), pl.col("s").sort().str.join("-", ignore_nulls=False).alias("j")),
}
rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, -0.0, 1.0, NAN, None]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from([-3, 0, 1, 2, None]),
        st.sampled_from([0.5, -1.0, 2.0, NAN, None]),
    ),
    max_size=25,
)


def of(
    keys: Sequence[pl.Expr], aggregates: Sequence[pl.Expr], *, schema: pl.Schema = SCHEMA, **options: Any
) -> tuple[OperatorSpec, tuple[str, ...], OperatorSpec]:
    split = split_aggregates(list(keys), list(aggregates), schema)
    options.setdefault("updating", False)
    specs = group_operators("group_by", keys=keys, split=split, input_schema=schema, **options)
    return pickle.loads(pickle.dumps(specs))


def polars(frame: pl.DataFrame, keys: Sequence[pl.Expr], aggregates: Sequence[pl.Expr]) -> pl.DataFrame:
    return frame.group_by(*keys).agg(*aggregates) if keys else frame.select(*aggregates)


def same(got: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Compare as multisets."""
    assert got.schema == expected.schema
    columns = [pl.col(c).list.sort() if isinstance(d, pl.List) else pl.col(c) for c, d in got.schema.items()]
    assert_frame_equal(got.select(columns), expected.select(columns), check_row_order=False)


def feed(operators: Sequence[Operator], frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Send a batch through operators in a chain and return the batches that come out."""
    batches = [Batch(frame)]
    for operator in operators:
        batches = [out for batch in batches for out in operator.process(batch)]
    return [batch.collected() for batch in batches]


def checked(log: list[pl.DataFrame], keys: Sequence[str]) -> pl.DataFrame:
    """Check that each batch changes a key once and takes back just what was given; return the whole log."""
    table: dict[Any, Any] = {}
    for batch in log:
        seen: set[tuple[str, str]] = set()
        for row in batch.iter_rows(named=True):
            kind = RowKind(row.pop(ROW_KIND))
            key = repr([row[name] for name in keys])
            family = "-" if kind in {RowKind.UPDATE_BEFORE, RowKind.DELETE} else "+"
            assert (key, family) not in seen
            seen.add((key, family))
            match kind:
                case RowKind.INSERT:
                    assert key not in table
                    table[key] = repr(row)
                case RowKind.UPDATE_BEFORE | RowKind.DELETE:
                    assert table.pop(key) == repr(row)
                case RowKind.UPDATE_AFTER:
                    assert (key, "-") in seen
                    assert key not in table
                    table[key] = repr(row)
    return pl.concat(log)


@pytest.mark.parametrize("aggregates", AGGREGATES)
@settings(deadline=None, max_examples=30)
@given(keys=st.sampled_from(sorted(KEYS)), data=rows, size=st.integers(1, 9), cut=st.integers(0, 6))
def test_folds_to_polars_result_whatever_the_cuts(
    keys: str, aggregates: str, data: list[Any], size: int, cut: int
) -> None:
    frame = pl.DataFrame(data, schema=SCHEMA, orient="row")
    local, exchange, keyed = of(KEYS[keys], AGGREGATES[aggregates])
    first = local.build(OperatorContext())
    second = keyed.build(OperatorContext())
    log: list[pl.DataFrame] = []
    for number, at in enumerate(range(0, frame.height, size)):
        if number == cut:
            second = keyed.build(OperatorContext(), second.snapshot())
        log += feed([first, second], frame[at : at + size])
    log += [message.collected() for message in second.on_end()]
    expected = polars(frame, KEYS[keys], AGGREGATES[aggregates])
    if not log:
        assert not expected.height
        return
    same(fold(checked(log, expected.columns[: len(KEYS[keys])])), expected)
    assert len(exchange) == len(KEYS[keys])


@pytest.mark.parametrize("aggregates", AGGREGATES)
@settings(deadline=None, max_examples=30)
@given(data=rows, cut=st.integers(0, 20), counts=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_survives_regrouping_to_another_parallelism(
    aggregates: str, data: list[Any], cut: int, counts: tuple[int, int]
) -> None:
    frame = pl.DataFrame(data, schema=SCHEMA, orient="row")
    local, exchange, keyed = of(KEYS["two"], AGGREGATES[aggregates])
    first = local.build(OperatorContext())
    log: list[pl.DataFrame] = []
    subtasks = [keyed.build(OperatorContext(i, counts[0])) for i in range(counts[0])]

    def send(part: pl.DataFrame) -> None:
        for message in first.process(Batch(part)) if part.height else []:
            travelling = message.collected()
            to = travelling.select(subtask_of(exchange, len(subtasks), travelling.schema)).to_series()
            for number, subtask in enumerate(subtasks):
                mine = travelling.filter(to == number)
                if mine.height:
                    log.extend(m.collected() for m in subtask.process(Batch(mine)))

    send(frame[:cut])
    snapshots = [subtask.snapshot() for subtask in subtasks]
    subtasks = [keyed.build(OperatorContext(i, counts[1]), regroup(snapshots, i, counts[1])) for i in range(counts[1])]
    send(frame[cut:])
    expected = polars(frame, KEYS["two"], AGGREGATES[aggregates])
    if log:
        same(fold(checked(log, ["s", "k"])), expected)
    else:
        assert not expected.height


def as_changelog(frame: pl.DataFrame, taken: list[int]) -> pl.DataFrame:
    """Return the rows as a changelog in which some are taken back again later."""
    back = frame[[at for at in taken if at < frame.height]]
    kinds = pl.Series(ROW_KIND, [0] * frame.height + [3] * back.height, dtype=pl.Int8)
    return pl.concat([frame, back]).with_columns(kinds)


@pytest.mark.parametrize("aggregates", AGGREGATES)
@settings(deadline=None, max_examples=40)
@given(
    keys=st.sampled_from(sorted(KEYS)),
    data=rows,
    taken=st.lists(st.integers(0, 24), unique=True),
    cuts=st.tuples(st.integers(1, 9), st.integers(0, 6)),
)
def test_takes_rows_back(
    *, keys: str, aggregates: str, data: list[Any], taken: list[int], cuts: tuple[int, int]
) -> None:
    frame = pl.DataFrame(data, schema=SCHEMA, orient="row")
    changes = as_changelog(frame, taken)
    local, _, keyed = of(KEYS[keys], AGGREGATES[aggregates], updating=True)
    first, second = local.build(OperatorContext()), keyed.build(OperatorContext())
    log: list[pl.DataFrame] = []
    for number, at in enumerate(range(0, changes.height, cuts[0])):
        if number == cuts[1]:
            second = keyed.build(OperatorContext(), second.snapshot())
        log += feed([first, second], changes[at : at + cuts[0]])
    assert second.metrics()["ignored_retractions"] == 0
    log += [message.collected() for message in second.on_end()]
    split = split_aggregates(list(KEYS[keys]), list(AGGREGATES[aggregates]), SCHEMA)
    seen = frame.select(pl.struct(*KEYS[keys]).alias("key") if keys != "none" else pl.lit(0), *split.columns)
    expected = polars(frame[remaining(seen, taken)], KEYS[keys], AGGREGATES[aggregates])
    if log:
        same(fold(checked(log, expected.columns[: len(KEYS[keys])])), expected)
    else:
        assert not expected.height


def remaining(seen: pl.DataFrame, taken: list[int]) -> list[int]:
    """Return the rows that are left when, of rows that look equal, the first to come is the first to go."""
    looks = [repr(row).replace("-0.0", "0.0") for row in seen.rows()]
    left = list(range(seen.height))
    for at in taken:
        if at < seen.height:
            left.remove(next(other for other in left if looks[other] == looks[at]))
    return left


@pytest.mark.parametrize("aggregates", AGGREGATES)
def test_ignores_and_counts_what_cannot_be_taken_back(aggregates: str) -> None:
    local, _, keyed = of(KEYS["two"], AGGREGATES[aggregates], updating=True)
    chain = [local.build(OperatorContext()), keyed.build(OperatorContext())]
    frame = pl.DataFrame([(1.0, "a", 5, 1.0), (2.0, "b", 5, 1.0)], schema=SCHEMA, orient="row")
    kinds = pl.Series(ROW_KIND, [0, 1], dtype=pl.Int8)
    (out,) = feed(chain, frame.with_columns(kinds))
    assert out.height == 1
    assert feed(chain, frame.tail(1).with_columns(pl.lit(3, pl.Int8).alias(ROW_KIND))) == []
    assert chain[1].metrics()["ignored_retractions"] == 2


@settings(deadline=None, max_examples=30)
@given(data=rows, size=st.integers(1, 9))
def test_group_by_over_a_group_by(data: list[Any], size: int) -> None:
    frame = pl.DataFrame(data, schema=SCHEMA, orient="row")
    inner = [pl.len().alias("c"), pl.col("x").max().alias("top")]
    outer = [pl.len(), pl.col("c").sum().alias("cs"), pl.col("top").mean(), pl.col("c").max().alias("most")]
    chain: list[Operator] = []
    schema = SCHEMA
    for keys, aggregates, updating in (([pl.col("k"), pl.col("s")], inner, False), ([pl.col("s")], outer, True)):
        local, _, keyed = of(keys, aggregates, schema=schema, updating=updating)
        chain += [local.build(OperatorContext()), keyed.build(OperatorContext())]
        schema = polars(pl.DataFrame(schema=schema), keys, aggregates).schema
    log = [out for at in range(0, frame.height, size) for out in feed(chain, frame[at : at + size])]
    expected = polars(polars(frame, [pl.col("k"), pl.col("s")], inner), [pl.col("s")], outer)
    if log:
        same(fold(checked(log, ["s"])), expected)
    else:
        assert not expected.height


def test_first_a_new_row_then_updates_and_nothing_when_nothing_changes() -> None:
    local, exchange, keyed = of((pl.col("s"),), (pl.col("n").max(), pl.col("x").sum()))
    assert exchange == ("s",)
    chain = [local.build(OperatorContext()), keyed.build(OperatorContext())]
    row = pl.DataFrame([(0.0, "a", 1, NAN)], schema=SCHEMA, orient="row")
    assert feed(chain, row)[0].select("s", "n", ROW_KIND).rows() == [("a", 1, 0)]
    assert feed(chain, row) == []
    more = pl.DataFrame([(0.0, "a", 5, 1.0), (0.0, "b", 2, 1.0)], schema=SCHEMA, orient="row")
    assert feed(chain, more)[0].select("s", "n", ROW_KIND).rows() == [("a", 1, 1), ("a", 5, 2), ("b", 2, 0)]


def test_update_before_can_be_left_out() -> None:
    local, _, keyed = of((pl.col("s"),), (pl.len(),), emit_update_before=False)
    chain = [local.build(OperatorContext()), keyed.build(OperatorContext())]
    row = pl.DataFrame([(0.0, "a", 1, 1.0)], schema=SCHEMA, orient="row")
    feed(chain, row)
    assert feed(chain, row)[0].select("s", "len", ROW_KIND).rows() == [("a", 2, 2)]


@pytest.mark.parametrize("aggregates", AGGREGATES)
@settings(deadline=None, max_examples=30)
@given(keys=st.sampled_from(sorted(KEYS)), data=rows, size=st.integers(1, 9), passed=st.booleans())
def test_upserts_alone_make_the_table(aggregates: str, keys: str, data: list[Any], size: int, passed: bool) -> None:
    """Also when rows come to the keyed operator as they are, so that a key is repeated within a batch."""
    frame = pl.DataFrame(data, schema=SCHEMA, orient="row")
    before, _, keyed = of(KEYS[keys], AGGREGATES[aggregates], emit_update_before=False)
    first, second = before.build(OperatorContext()), keyed.build(OperatorContext())
    table: dict[str, Any] = {}
    for at in range(0, frame.height, size):
        rows = frame[at : at + size]
        if passed and keyed.plan.can_pass:
            rows = keyed.plan.passed(rows.lazy()).collect()
            changes = feed([second], rows)
        else:
            changes = feed([first, second], rows)
        seen: set[str] = set()
        for *row, kind in (row for batch in changes for row in batch.rows()):
            key = repr(row[: len(KEYS[keys])])
            assert key not in seen
            seen.add(key)
            assert kind == (RowKind.UPDATE_AFTER if key in table else RowKind.INSERT)
            table[key] = row
    expected = polars(frame, KEYS[keys], AGGREGATES[aggregates])
    if table:
        same(pl.DataFrame(list(table.values()), schema=expected.schema, orient="row"), expected)
    else:
        assert not frame.height


@pytest.mark.parametrize("aggregates", ["counts", "buffered", "extremes"])
def test_an_emptied_group_is_deleted_and_can_come_again(aggregates: str) -> None:
    local, _, keyed = of((pl.col("s"),), AGGREGATES[aggregates], updating=True)
    chain = [local.build(OperatorContext()), keyed.build(OperatorContext())]
    row = pl.DataFrame([(0.0, "a", 1, 1.0)], schema=SCHEMA, orient="row")
    kinds = [
        out[ROW_KIND].to_list()
        for kind in (0, 3, 3, 2)
        for out in feed(chain, row.with_columns(pl.lit(kind, pl.Int8).alias(ROW_KIND)))
    ]
    assert kinds == [[0], [3], [0]]
    assert chain[1].metrics()["ignored_retractions"] == 1


@pytest.mark.parametrize("cut", range(1, 16))
def test_what_buffered_groups_take_back_is_what_they_gave_to_the_last_bit(cut: int) -> None:
    """Polars adds floats in another order where it knows that rows are sorted, which depends on the cuts."""
    numbers = [None, None, None, 2, 1, None, 2, None, 2, 2, 1, None, None, 1, None, 1]
    frame = pl.DataFrame({"n": numbers}, schema={"n": pl.Int64})
    aggregates = [pl.col("n").fill_null(0).std(ddof=0), pl.col("n").median().alias("m")]
    local, _, keyed = of([], aggregates, schema=frame.schema)
    operators = [local.build(OperatorContext()), keyed.build(OperatorContext())]

    batches = [frame[:cut], *(frame[at : at + 1] for at in range(cut, frame.height))]

    assert fold(checked([changes for batch in batches for changes in feed(operators, batch)], [])).height == 1


@pytest.mark.parametrize("keys", [(), (pl.col("k"),)], ids=["none", "one"])
def test_what_is_taken_back_was_given_also_where_polars_does_not_repeat_itself(keys: tuple[pl.Expr, ...]) -> None:
    """Sums of floats end in other bits beside other groups, in other chunks and in another process."""
    n = pl.col("n")
    frame = pl.select(pl.int_range(78).alias("n")).with_columns(k=n % 4, x=pl.when(n % 5 != 1).then((n * 0.7).sin()))
    aggregates = [pl.col("x").kurtosis().alias("t"), pl.col("x").filter(pl.col("x") > 0).sort().sum()]
    local, names, keyed = of(keys, aggregates, schema=frame.schema)
    operators = [local.build(OperatorContext()), keyed.build(OperatorContext())]
    log = []
    for at in range(0, frame.height, 13):
        log += feed(operators, frame[at : at + 13])
        if at == 39:
            snapshots = [pickle.loads(pickle.dumps(operator.snapshot())) for operator in operators]
            operators = [
                spec.build(OperatorContext(), state) for spec, state in zip((local, keyed), snapshots, strict=True)
            ]

    assert fold(checked(log, names)).height == (4 if keys else 1)


def test_rows_of_a_snapshot_without_results_give_them_again() -> None:
    """Snapshots of the first release have the rows alone; one of a query with other aggregates has its results."""
    frame = pl.DataFrame({"k": ["a", "a", "b"], "n": [1, 5, 2]})
    more = pl.DataFrame({"k": ["b"], "n": [4]})
    keyed = of([pl.col("k")], [pl.col("n").median().alias("m")], schema=frame.schema)[2]
    first = keyed.build(OperatorContext())
    feed([first], frame)
    held = first.snapshot()
    rows_alone = dataclasses.replace(held, keyed={"rows": held.keyed["rows"]})
    other = of([pl.col("k")], [pl.col("n").median().alias("m"), pl.col("n").sort()], schema=frame.schema)[2]

    for spec, snapshot in ((keyed, rows_alone), (other, held)):
        changes = pl.concat(feed([spec.build(OperatorContext(), snapshot)], more))
        assert changes.select("k", "m", ROW_KIND).rows() == [("b", 2.0, 1), ("b", 3.0, 2)]


def test_no_rows_without_keys_give_one_row_at_the_end() -> None:
    for aggregates in ("counts", "buffered"):
        _, _, keyed = of((), AGGREGATES[aggregates])
        (message,) = keyed.build(OperatorContext()).on_end()
        same(fold(message.collected()), polars(pl.DataFrame(schema=SCHEMA), (), AGGREGATES[aggregates]))
        _, _, quiet = of((), AGGREGATES[aggregates], global_row_at_end=False)
        assert quiet.build(OperatorContext()).on_end() == []


def test_combines_lazily_before_the_exchange() -> None:
    local, _, _ = of((pl.col("s"),), (pl.len(), pl.col("n").sum()))
    frame = pl.DataFrame([(0.0, "a", 1, 1.0)] * 5, schema=SCHEMA, orient="row")
    (batch,) = local.build(OperatorContext()).process(Batch(frame.lazy(), ingested_us=3))
    assert batch.collected().height == 1
    assert batch.ingested_us == 3


def test_a_snapshot_shares_the_pages_that_did_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    local, _, keyed = of((pl.col("n"),), (pl.len(),))
    chain = [local.build(OperatorContext()), keyed.build(OperatorContext())]
    many = pl.select(k=pl.lit(0.0), s=pl.lit("a"), n=pl.int_range(200_000), x=pl.lit(1.0))
    feed(chain, many)
    one = chain[1].snapshot()
    before = [frame.clone() for frame in one.keyed["groups"]]
    # The first key's page is written again, no other.
    feed(chain, many.head(1))
    two = chain[1].snapshot()
    shared = [a is b for a, b in zip(one.keyed["groups"], two.keyed["groups"], strict=True)]
    assert len(shared) == 4
    assert shared.count(False) == 1
    assert all(a.equals(b) for a, b in zip(before, one.keyed["groups"], strict=True))
    assert two.rows == 200_000
    assert chain[1].metrics()["state_rows"] == 200_000
    assert chain[1].metrics()["state_bytes"] > 200_000 * 16


def test_slots_of_removed_keys_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_groups, "_UNUSED_SLOTS", 10)
    local, _, keyed = of((pl.col("n"),), (pl.len(),), updating=True)
    chain = [local.build(OperatorContext()), keyed.build(OperatorContext())]
    log = []
    for start in range(0, 1000, 50):
        part = pl.select(k=pl.lit(0.0), s=pl.lit("a"), n=pl.int_range(start, start + 50), x=pl.lit(1.0))
        log += feed(chain, part.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND)))
        log += feed(chain, part.head(45).with_columns(pl.lit(3, pl.Int8).alias(ROW_KIND)))
    assert fold(checked(log, ["n"])).height == 100
    assert chain[1].metrics()["state_rows"] == 100


def test_rising_batches_that_came_together_give_what_they_give_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_groups, "_LEAST_PART_ROWS", 2)
    local, _, keyed = of((pl.col("n"),), (pl.len(), pl.col("x").sum().alias("total")), emit_update_before=False)
    combined = local.build(OperatorContext())
    batches = [
        pl.DataFrame({"k": None, "s": None, "n": numbers, "x": 0.5}, schema=SCHEMA)
        for numbers in ([1, 2, 3], [2, 3, 4], [0, 4, 5])
    ]
    partials = [part for batch in batches for part in feed([combined], batch)]
    together, apart = keyed.build(OperatorContext()), keyed.build(OperatorContext())
    changes = feed([together], pl.concat(partials))
    assert len(changes) == len(batches)
    for got, expected in zip(changes, [out for part in partials for out in feed([apart], part)], strict=True):
        assert_frame_equal(got, expected)


def test_is_a_value_that_prints_shortly() -> None:
    _, _, keyed = of((pl.col("s"),), (pl.len(),))
    assert isinstance(keyed, GroupAggregateSpec)
    assert str(keyed) == "group_by"
    assert len(repr(keyed)) < 100


@pytest.mark.parametrize("keys", ["one", "two", "renamed"])
@pytest.mark.parametrize("aggregates", ["counts", "mean", "bounds", "extremes"])
def test_rows_whose_keys_hardly_repeat_are_passed_on_row_by_row(
    keys: str, aggregates: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_STREAMING_ROWS", 4)
    unlike = pl.DataFrame(
        {"k": [0.0, 1.0, NAN, None], "s": ["a", "b", None, "c"], "n": [1, None, 5, -9], "x": [0.5, None, NAN, 1.0]},
        schema=SCHEMA,
    )
    alike = unlike.with_columns(k=pl.lit(-0.0), s=pl.lit("a"), n=pl.lit(1, pl.Int64))
    frames = [unlike, pl.concat([unlike, alike]), alike, unlike]
    before, _, behind = of(KEYS[keys], AGGREGATES[aggregates])
    operators = before.build(OperatorContext()), behind.build(OperatorContext())
    log = [out for frame in frames for out in feed(operators, frame)]
    same(fold(pl.concat(log)), polars(pl.concat(frames), KEYS[keys], AGGREGATES[aggregates]))


def test_keys_that_do_not_repeat_skip_the_grouping_and_those_that_do_bring_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "_STREAMING_ROWS", 4)
    monkeypatch.setattr(local, "_PASSED_BATCHES", 2)
    before, _, _ = of((pl.col("n"),), (pl.len(), pl.col("x").sum()))
    operator = before.build(OperatorContext())
    unlike = pl.DataFrame({"k": 0.0, "s": "a", "n": range(8), "x": 1.0}, schema=SCHEMA)
    alike = unlike.with_columns(n=pl.lit(1, pl.Int64))
    heights = [operator.process(Batch(f))[0].collected().height for f in (unlike, alike, alike, alike, alike, unlike)]
    assert heights == [8, 8, 8, 1, 1, 8]
