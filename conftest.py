"""How one run takes all tests: which stay together, which come first, and how doctests and notebooks are run.

Workers take tests from one queue, so none is idle while another has a long list. What is long comes first. Tests of a
file that share something, and the cells of a notebook, which share a kernel, stay together on one worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.doctest import DoctestItem
from nbval.plugin import IPyNbCell
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from streamlab.frame.runner import Collected, RunOptions
    from streamlab.job.local_runner import LocalRunner
    from streamlab.plan.nodes import Node

LESSONS = "notebooks/"
LONGEST_FIRST = (
    "tests/notebook/",
    LESSONS,
    "tests/faults/",
    "tests/cluster/",
    "tests/scaling/",
    "tests/simulation/",
    "tests/laws/",
)
"""Folders whose tests are long: each is taken on its own, but cells. Elsewhere the tests of a file stay together."""
CELL_S = 600
_VARIABLES_OF_TESTS = ("POLARS_MAX_THREADS", "STREAMLAB_SPARES")
"""Set in ``tests/conftest.py``, but not in a reader's kernel."""


def _place(nodeid: str) -> int:
    places = (place for place, folder in enumerate(LONGEST_FIRST) if nodeid.startswith(folder))
    return next(places, len(LONGEST_FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, and of those in JupyterLab the ones in a browser, which is open until they end."""
    for item in items:
        if isinstance(item, IPyNbCell):
            item.add_marker(pytest.mark.timeout(CELL_S))
    items.sort(key=lambda item: (_place(item.nodeid), "browser" not in getattr(item, "fixturenames", ())))


class _Queue(LoadScopeScheduling):
    """Hands out tests in their order: what is long one by one, the others file by file.

    xdist's own ``loadgroup`` would do as well, but puts the groups into names that pytest 9.2 does not let it change.
    """

    def _split_scope(self, nodeid: str) -> str:
        is_alone = _place(nodeid) < len(LONGEST_FIRST) and not nodeid.startswith(LESSONS)
        return nodeid if is_alone else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Queue:
    """Make the queue that the workers of ``-n`` are served from."""
    config.option.loadscopereorder = False
    return _Queue(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Start the kernel of a lesson as its readers do: with Polars' own number of threads, and spare processes."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(item, IPyNbCell):
            for variable in _VARIABLES_OF_TESTS:
                patch.delenv(variable, raising=False)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Look at what ``nbval`` lets pass: a magic that is unknown, a live cell whose outputs it is told to ignore."""
    result = yield
    if isinstance(item, IPyNbCell):
        outputs: list[dict[str, Any]] = item.test_outputs
        assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
        if item.cell.source.startswith("%%stream"):
            kinds = [kind for output in outputs for kind in output["data"]]
            assert "text/html" in kinds
            assert not any("widget" in kind for kind in kinds)
    return result


@pytest.fixture(autouse=True)
def _examples_run_at_once(request: pytest.FixtureRequest) -> None:
    """Let examples in docstrings collect a query in this thread: the same tasks, but no processes to wait for."""
    if isinstance(request.node, DoctestItem):
        from streamlab.job.local_runner import LocalRunner  # noqa: PLC0415 - only where it is needed

        patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        patch.setattr(LocalRunner, "collect", _in_this_thread())


def _in_this_thread() -> Callable[[LocalRunner, Node, RunOptions], Collected]:
    """Return what takes the place of `LocalRunner.collect`."""
    import polars as pl  # noqa: PLC0415

    from streamlab.core.messages import DEAD_LETTER_SCHEMA  # noqa: PLC0415
    from streamlab.frame.runner import Collected  # noqa: PLC0415
    from streamlab.frame.stream_frame import StreamFrame  # noqa: PLC0415
    from streamlab.testing.simulation import simulate  # noqa: PLC0415

    def collect(runner: LocalRunner, plan: Node, options: RunOptions) -> Collected:  # noqa: ARG001
        done = simulate(StreamFrame(plan, runner), seed=0)
        return Collected(done.table, pl.concat([DEAD_LETTER_SCHEMA.to_frame(), *done.dead_letters]))

    return collect
