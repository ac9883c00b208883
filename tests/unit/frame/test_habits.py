"""What people write out of habit is answered with a sentence that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import streamlab as sl
from streamlab.frame.habits.words import LAZY, OF_STREAMS

ROWS = pl.DataFrame({"delay": [1], "city": ["x"]})
Frame = Any


def stream() -> Frame:
    return sl.from_frame(ROWS)


HABITS: dict[str, tuple[Callable[[Frame], object], type[Exception], str]] = {
    "column": (lambda s: s["delay"], TypeError, "pl.col('delay') in select"),
    "misspelt column": (lambda s: s["delya"], TypeError, "pl.col('delay') in select"),
    "columns": (lambda s: s[["delay", "city"]], TypeError, "select('delay', 'city')"),
    "row": (lambda s: s[0], TypeError, "head(n) takes the first"),
    "mask": (lambda s: s[pl.col("delay") > 0], TypeError, "filter(pl.col('x') > 0)"),
    "attribute": (lambda s: s.delay, AttributeError, "pl.col('delay')"),
    "length": (len, TypeError, "select(pl.len()) counts them"),
    "loop": (list, TypeError, "iter_batches() yields frames"),
    "frame": (pl.DataFrame, TypeError, "job.results()"),
    "pandas": (lambda s: s.to_pandas(), AttributeError, "take(n), or job.results()"),
    "rolling": (lambda s: s.rolling_mean(), AttributeError, "group_by_dynamic(…, every=…, period=…)"),
    "groupby": (lambda s: s.groupby("city"), AttributeError, "group_by(…)"),
    "lazy": (lambda s: s.profile(), AttributeError, "although Polars' LazyFrame has: job.metrics()"),
    "misspelt method": (lambda s: s.fliter(pl.col("delay") > 0), AttributeError, "did you mean 'filter'?"),
    "argument": (lambda s: s.group_by_dynamic("delay", evry="1h"), TypeError, "did you mean 'every'?"),
    "unknown argument": (lambda s: s.mean(axis=1), TypeError, "mean() has no argument 'axis'"),
    "option": (lambda s: s.collect(batch_row=1), sl.OptionError, "did you mean 'batch_rows'?"),
    "option of start": (lambda s: s.start(paralelism=1), sl.OptionError, "did you mean 'parallelism'?"),
    "argument of a source": (lambda _: sl.from_frame(ROWS, event_tme="at"), TypeError, "did you mean 'event_time'?"),
}


@pytest.mark.parametrize("habit", HABITS)
def test_habits_are_answered(habit: str) -> None:
    write, kind, said = HABITS[habit]
    with pytest.raises(kind) as caught:
        write(stream())
    assert said in str(caught.value)


def test_what_a_stream_has_is_never_said_to_be_missing() -> None:
    assert [name for name in (*LAZY, *OF_STREAMS) if hasattr(sl.StreamFrame, name)] == []


@pytest.mark.parametrize("name", sorted(name for name in dir(pl.DataFrame) if name[0] != "_"))
def test_every_method_of_a_frame_is_there_or_answered(name: str) -> None:
    if not hasattr(sl.StreamFrame, name):
        with pytest.raises(AttributeError) as caught:
            getattr(stream(), name)
        assert "→" in str(caught.value) or "LazyFrame has: " in str(caught.value)


def test_a_plan_shows_itself_as_text() -> None:
    shown: list[str] = []
    printer = type("Printer", (), {"text": lambda _self, text: shown.append(text)})()
    plan = stream().explain()
    plan._repr_pretty_(printer, False)
    assert shown == [str(plan)]
    assert repr(plan).startswith("'"), "outside of notebooks it is a string like any other"
