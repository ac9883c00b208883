"""``import streamlab``: what it names, and what it does not import."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import streamlab as sl
from streamlab.connectors.files import files
from streamlab.core import errors
from streamlab.frame import runner
from streamlab.job import sources


def test_everything_named_is_there() -> None:
    for name in sl.__all__:
        assert getattr(sl, name) is not None
        assert name in dir(sl)
    assert sl.__version__


def test_every_error_is_named() -> None:
    raised = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert "CheckpointError" in raised
    assert raised <= set(sl.__all__)


def test_every_source_is_named() -> None:
    made = {
        name
        for name, value in vars(sources).items()
        if inspect.isfunction(value) and value.__module__ == sources.__name__ and not name.startswith("_")
    }

    assert {"from_frame", "scan_recording"} <= made
    assert made <= set(sl.__all__)


def test_streams_say_in_full_what_their_arguments_about_time_mean() -> None:
    assert "How far rows may come out of order" in sl.from_frame.__doc__
    assert "connectors.timing" not in "".join(getattr(sl, name).__doc__ for name in sl.__all__)


def calls() -> Iterator[tuple[str, Callable[..., object]]]:
    """Everything that a user can call by a name of ours, with that name."""
    for name in sl.__all__:
        value = getattr(sl, name)
        if inspect.isfunction(value):
            yield name, value
    for kind in (sl.StreamFrame, sl.Job):
        for name, method in inspect.getmembers(kind, inspect.isroutine):
            if not name.startswith("_"):
                yield f"{kind.__name__}.{name}", method


def is_explained(call: Callable[..., object]) -> bool:
    text = inspect.getdoc(call) or ""
    is_elsewhere = re.search(r":(meth|func):|Polars", text) is not None
    names = inspect.signature(call).parameters.keys() - {"self", "_", "__"}
    return bool(text) and (is_elsewhere or names <= set(re.findall(r"\w+", text)))


def test_every_argument_is_explained() -> None:
    assert not is_explained(lambda argument: None)
    assert [name for name, call in calls() if not is_explained(call)] == []


def test_types_are_there_for_who_checks_them() -> None:
    assert (Path(sl.__file__).parent / "py.typed").exists()
    assert inspect.signature(sl.StreamFrame.start).return_annotation == sl.Job.__name__
    assert not hasattr(runner, "Job"), "what start() returns would be checked against something else"


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="'streamlab' has no attribute 'read_everything'"):
        _ = sl.read_everything


def test_the_import_brings_nothing_heavy() -> None:
    code = (
        "import sys, streamlab\n"
        "heavy = {'polars', 'pandas', 'IPython', 'bokeh', 'zmq', 'ipywidgets', 'psutil', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_plans_need_no_notebook() -> None:
    code = (
        "import sys, streamlab as sl, polars as pl\n"
        "sl.from_frame(pl.DataFrame({'n': [1]})).group_by('n').len().explain()\n"
        "print(sorted({'IPython', 'bokeh', 'ipywidgets'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_sources_have_the_signatures_of_their_connectors() -> None:
    ours = inspect.signature(sl.scan_parquet)

    first, *others = inspect.signature(files.scan_parquet).parameters
    assert list(ours.parameters) == [first, "n_rows", *others], "the stream, not its source, ends after so many rows"
    assert ours.return_annotation == "StreamFrame"
    assert sl.scan_parquet.__name__ == "scan_parquet"
    assert (sl.scan_parquet.__doc__ or "").startswith("Return a stream that reads Parquet files")
