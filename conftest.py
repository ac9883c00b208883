"""Examples in docstrings that collect a query run it in this thread: the same tasks, but no processes to wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from _pytest.doctest import DoctestItem

if TYPE_CHECKING:
    import polars as pl

    from streamlab.frame.runner import RunOptions
    from streamlab.plan.nodes import Node
    from streamlab.session.local_runner import LocalRunner


@pytest.fixture(autouse=True)
def _examples_run_at_once(request: pytest.FixtureRequest) -> None:
    if isinstance(request.node, DoctestItem):
        from streamlab.session.local_runner import LocalRunner  # noqa: PLC0415 - only where it is needed

        patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        patch.setattr(LocalRunner, "collect", _in_this_thread())


def _in_this_thread() -> Callable[[LocalRunner, Node, RunOptions], pl.DataFrame]:
    """Return what takes the place of `LocalRunner.collect`."""
    from streamlab.frame.stream_frame import StreamFrame  # noqa: PLC0415
    from streamlab.testing.simulation import simulate  # noqa: PLC0415

    def collect(runner: LocalRunner, plan: Node, options: RunOptions) -> pl.DataFrame:  # noqa: ARG001
        return simulate(StreamFrame(plan, runner), seed=0).table

    return collect
