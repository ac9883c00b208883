"""Clicks are heard beside a running cell, in kernels that choose who hears them and in those that do not."""

from __future__ import annotations

from typing import Any

from streamlab.notebook.view.widget import _answer_while_busy


class Comm74:
    """As in ipykernel 7.4: messages go to who wrote last."""

    def _reply_subshell_for(self, data: Any, default: str) -> str:
        return "the thread of the busy cell"


class Comm73:
    """As in ipykernel 7.3, and in front ends that have no kernel: there is nothing to choose."""

    __slots__ = ()


def test_in_74_they_go_where_the_browser_sends_them() -> None:
    comm = Comm74()
    _answer_while_busy(comm)
    assert comm._reply_subshell_for({}, "the browser's subshell") == "the browser's subshell"


def test_in_73_nothing_is_changed() -> None:
    comm = Comm73()
    _answer_while_busy(comm)
    assert not hasattr(comm, "_reply_subshell_for")
