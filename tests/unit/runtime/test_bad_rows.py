"""Rows that a step fails on stand in dead letters, each alone; all others go on, in order."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import StepFailed
from streamlab.core.messages import DEAD_LETTERS, Batch, Message
from streamlab.operators.base import OperatorContext
from streamlab.operators.map_batches import MapBatchesSpec
from streamlab.operators.steps import PolarsStepsSpec
from streamlab.runtime.task import bad_rows
from streamlab.runtime.task.bad_rows import culprit, sift


def _strict(batch: Batch) -> list[Message]:
    """Fails on a batch with a negative number."""
    if (batch.collected()["n"] < 0).any():
        msg = "a negative number"
        raise ValueError(msg)
    return [batch]


def _rows(messages: list[Message]) -> list[object]:
    return [n for m in messages if isinstance(m, Batch) and m.tag != DEAD_LETTERS for n in m.collected()["n"]]


def _letters(messages: list[Message]) -> list[object]:
    return [text for m in messages if isinstance(m, Batch) and m.tag == DEAD_LETTERS for text in m.collected()["input"]]


@given(st.lists(st.integers(-3, 9), max_size=40))
def test_bad_rows_are_told_from_good_ones(numbers: list[int]) -> None:
    batch = Batch(pl.DataFrame({"n": numbers}, schema={"n": pl.Int64}), ingested_us=7)
    done = sift("strict", _strict, batch)
    assert _rows(done) == [n for n in numbers if n >= 0]
    assert _letters(done) == [f'{{"n":{n}}}' for n in numbers if n < 0]
    assert all(m.ingested_us == 7 for m in done if isinstance(m, Batch) and m.tag != DEAD_LETTERS)


def test_a_letter_says_which_step_and_why() -> None:
    done = sift("strict", _strict, Batch(pl.DataFrame({"n": [1, -1], ROW_KIND: [0, 1]})))
    letter = next(m for m in done if isinstance(m, Batch) and m.tag == DEAD_LETTERS).collected().row(0)
    assert letter == ("strict", "ValueError: a negative number", '{"n":-1}', "")


def test_a_step_that_fails_on_all_rows_of_a_large_batch_is_not_their_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bad_rows, "MOST_BAD_ROWS", 3)
    assert len(sift("strict", _strict, Batch(pl.DataFrame({"n": [-1, -2, -3, 1]})))) == 4
    with pytest.raises(ValueError, match="a negative number") as caught:
        sift("strict", _strict, Batch(pl.DataFrame({"n": [-1, -2, -3, -4]})))
    assert caught.value.__notes__ == ["More than 3 rows of one batch fail: look at the step itself."]


def test_a_function_that_returns_something_else_than_it_declared_is_an_error() -> None:
    spec = MapBatchesSpec("mine", lambda frame: frame.rename({"n": "m"}), pl.Schema({"n": pl.Int64}))
    with pytest.raises(StepFailed, match="no 'n' and also 'm'"):
        sift("mine", spec.build(OperatorContext()).process, Batch(pl.DataFrame({"n": [1, 2]})))


def test_an_expression_that_fails_on_a_value() -> None:
    spec = PolarsStepsSpec("with_columns", (("with_columns", (pl.col("n").str.to_integer(),), {}),))
    done = sift("with_columns", spec.build(OperatorContext()).process, Batch(pl.DataFrame({"n": ["1", "x", "3"]})))
    assert _rows(done) == [1, 3]
    assert _letters(done) == ['{"n":"x"}']


@given(st.lists(st.integers(-3, 9), min_size=1, max_size=40).filter(lambda numbers: min(numbers) < 0))
def test_the_first_bad_row_stands_for_all(numbers: list[int]) -> None:
    given_rows = 0

    def process(part: Batch) -> None:
        nonlocal given_rows
        frame = part.collected()
        given_rows += frame.height
        if (frame["n"] < 0).any():
            msg = f"{(frame['n'] < 0).sum()} of {frame.height} are negative"
            raise ValueError(msg)

    rows, error = culprit(process, Batch(pl.DataFrame({"n": numbers})), ValueError("of all"))
    assert rows["n"].to_list() == [next(n for n in numbers if n < 0)]
    assert str(error) == ("1 of 1 are negative" if len(numbers) > 1 else "of all")
    assert given_rows <= 2 * len(numbers)


def test_rows_that_fail_only_together_are_shown_together() -> None:
    def process(part: Batch) -> None:
        if part.collected().height > 2:
            msg = "too many"
            raise ValueError(msg)

    rows, error = culprit(process, Batch(pl.DataFrame({"n": range(8)})), ValueError("of all"))
    assert rows["n"].to_list() == [0, 1, 2, 3]
    assert str(error) == "too many"
