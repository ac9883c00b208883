"""The ends of a query, against a runner that runs nothing."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from streamlab.core.changelog import ROW_KIND
from streamlab.core.dead_letter_warning import DeadLetterWarning
from streamlab.core.errors import OptionError, PlanError
from streamlab.frame.runner import RunOptions
from streamlab.frame.stream_frame import StreamFrame
from streamlab.plan import nodes

ROWS = pl.DataFrame({"n": [1, 2, 3]})
CHANGES = [
    pl.DataFrame({"n": [1], ROW_KIND: [0]}, schema_overrides={ROW_KIND: pl.Int8}),
    pl.DataFrame({"n": [1, 2], ROW_KIND: [1, 2]}, schema_overrides={ROW_KIND: pl.Int8}),
    pl.DataFrame({"n": [3], ROW_KIND: [0]}, schema_overrides={ROW_KIND: pl.Int8}),
]


def test_collect(flights: StreamFrame, runner) -> None:
    runner.frames = [ROWS]

    assert flights.collect(parallelism=3, batch_rows=10) is ROWS

    assert runner.calls == [("collect", flights.plan, RunOptions(None, 3, None, False, more={"batch_rows": 10}), None)]


def test_collect_warns_once_of_what_was_set_aside_and_gives_it_when_asked(flights: StreamFrame, runner) -> None:
    reasons = ["'x' is no Int64", "3 fields, not 2", "'x' is no Int64"]
    letters = pl.DataFrame({"step": "s", "reason": reasons, "input": "x", "origin": ["/d/a.csv:1", "/d/b.csv", ""]})
    runner.frames, runner.dead_letters = [ROWS], letters

    with pytest.warns(DeadLetterWarning) as said:
        assert flights.collect() is ROWS

    assert len(said) == 1
    assert said[0].filename == __file__
    assert said[0].message.dead_letters is letters
    text = str(said[0].message)
    assert text.startswith(
        "collect: 3 pieces of input were set aside as not understood: 2 x 'x' is no Int64 (a.csv:1), 1 x"
    )
    assert "collect(dead_letters=True)" in text
    assert "on_error='fail'" in text
    assert flights.collect(dead_letters=True) == (ROWS, letters)


def test_collect_needs_an_end(endless: StreamFrame, runner) -> None:
    with pytest.raises(PlanError, match="collect: needs a stream that ends by itself") as caught:
        endless.filter(n=1).collect()

    for word in ["flights", "take(n)", "start()", "head(n)"]:
        assert word in str(caught.value)
    assert not runner.calls


def test_start(endless: StreamFrame, runner) -> None:
    assert endless.start("hourly", parallelism=2, keep_rows=100, detach=True, batch_ms=5) == "the job"
    endless.start()

    assert runner.calls[0][1:] == (endless.plan, RunOptions("hourly", 2, 100, True, 10_000, more={"batch_ms": 5}), None)
    assert runner.calls[1][2] == RunOptions(None, None, "auto", False, 10_000, more={})


@pytest.mark.parametrize(("every", "every_ms"), [("1m", 60_000), (dt.timedelta(seconds=2), 2_000), (None, None)])
def test_checkpoints_are_taken_as_often_as_one_likes(endless: StreamFrame, runner, every, every_ms) -> None:
    endless.start(checkpoint_every=every, from_savepoint="there", allow_non_restored_state=True)

    given = RunOptions(checkpoint_every_ms=every_ms, from_savepoint="there", allow_non_restored_state=True)
    assert runner.calls[0][2] == given


@pytest.mark.parametrize(
    "given", [{"parallelism": 0}, {"parallelism": "2"}, {"keep_rows": 0}, {"keep_rows": "all"}, {"parallelism": True}]
)
def test_start_checks_its_arguments(flights: StreamFrame, runner, given) -> None:
    with pytest.raises(OptionError, match=next(iter(given))):
        flights.start(**given)
    assert not runner.calls


def test_take_ends_the_stream(make_stream, runner) -> None:
    runner.frames = [ROWS, ROWS, ROWS]

    assert make_stream(pl.Schema({"n": pl.Int64}), event_time=None).take(4)["n"].to_list() == [1, 2, 3, 1]

    plan = runner.calls[0][1]
    assert isinstance(plan, nodes.Head)
    assert plan.n == 4
    assert runner.closed == 1


def test_take_of_fewer_rows_than_there_are(make_stream, runner) -> None:
    runner.frames = [ROWS]

    assert make_stream(pl.Schema({"n": pl.Int64}), event_time=None).take(5).height == 3


def test_take_of_no_rows(flights: StreamFrame) -> None:
    assert flights.take(0).schema == flights.schema


def test_take_of_an_updating_stream_is_its_table(make_stream, runner) -> None:
    runner.frames = CHANGES

    taken = make_stream(pl.Schema({"n": pl.Int64}), event_time=None).select(pl.col("n").max()).take(2)

    assert taken["n"].to_list() == [2, 3]
    assert runner.closed == 1


@pytest.mark.parametrize("given", [{"n": -1}, {"n": "3"}, {"n": 1, "timeout": -1}, {"n": 1, "timeout": "soon"}])
def test_take_checks_its_arguments(flights: StreamFrame, given) -> None:
    with pytest.raises(OptionError, match="take"):
        flights.take(**given)


def test_iter_batches(flights: StreamFrame, runner) -> None:
    runner.frames = [ROWS, ROWS]

    assert [frame.height for frame in flights.iter_batches(parallelism=2)] == [3, 3]
    assert runner.calls[0][2] == RunOptions(None, 2, None, False, more={})


def test_iter_batches_of_an_updating_stream_are_changes(flights: StreamFrame, runner) -> None:
    runner.frames = CHANGES

    batches = flights.group_by("n").len().iter_batches()

    assert next(batches).rows() == [("+I", 1)]
    assert next(batches).rows() == [("-U", 1), ("+U", 2)]
    batches.close()
    assert runner.closed == 1


def test_explain_joins_plan_and_graph(flights: StreamFrame, runner) -> None:
    text = flights.filter(n=1).explain(parallelism=2)

    assert text.startswith("filter: ")
    assert text.endswith("\n\nthe job graph")
    assert runner.calls[0][2] == 2


def test_repr_shows_columns_and_plan(endless: StreamFrame) -> None:
    text = repr(endless.filter(carrier="<b>"))

    assert text.startswith("StreamFrame, endless, append-only\nts Datetime(us), carrier String")
    assert 'filter: [(col("carrier")) == ("<b>")]' in text


def test_html_is_escaped(flights: StreamFrame) -> None:
    html = flights.filter(carrier="<script>").rename({"n": "<n>"})._repr_html_()

    assert "<script>" not in html
    assert "<n>" not in html
    assert "&lt;script&gt;" in html


REFUSED = [
    "sort",
    "top_k",
    "bottom_k",
    "tail",
    "reverse",
    "last",
    "first",
    "shift",
    "unique",
    "describe",
    "sample",
    "quantile",
    "median",
    "gather",
    "gather_every",
    "interpolate",
    "with_row_index",
    "rolling",
    "merge_sorted",
    "join_asof",
    "join_where",
    "update",
    "pivot",
    "sql",
]


@pytest.mark.parametrize("method", REFUSED)
def test_what_needs_the_whole_future_is_refused_with_a_hint(endless: StreamFrame, method: str) -> None:
    with pytest.raises(PlanError, match=f"{method}: ") as caught:
        getattr(endless, method)("n", by="n", every="1h")

    assert "→" in str(caught.value)
    assert "collect()" not in str(caught.value)


@pytest.mark.parametrize("method", REFUSED)
def test_bounded_streams_are_told_to_collect_first(flights: StreamFrame, method: str) -> None:
    with pytest.raises(PlanError, match=f"{method}: ") as caught:
        getattr(flights, method)()

    after = pl.DataFrame if f".collect().{method}(" in str(caught.value) else pl.LazyFrame
    assert hasattr(after, method)


def test_what_polars_has_and_streams_have_not_is_said_plainly(flights: StreamFrame) -> None:
    with pytest.raises(AttributeError, match="no 'sink_iceberg', although Polars' LazyFrame has: sink_batches"):
        _ = flights.sink_iceberg
    with pytest.raises(AttributeError, match="a StreamFrame has no 'nothing'"):
        _ = flights.nothing
    assert not hasattr(flights, "_repr_png_")


def test_every_lazyframe_method_is_there_or_explained(flights: StreamFrame) -> None:
    for name in dir(pl.LazyFrame):
        if not name.startswith("_") and not hasattr(flights, name):
            with pytest.raises(AttributeError, match="although Polars' LazyFrame has"):
                getattr(flights, name)


@pytest.mark.parametrize("every", ["-1s", "0s"])
def test_checkpoints_need_time_between_them(endless: StreamFrame, every: str) -> None:
    with pytest.raises(OptionError, match=r"checkpoint_every: needs a duration longer than 0(.|\n)*None takes no"):
        endless.start(checkpoint_every=every)
