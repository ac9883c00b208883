"""Texts of others on a terminal, which takes some characters for commands: to move, to hide, to set its title."""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and moves
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, the clipboard
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def without_escapes(text: str) -> str:
    r"""Return a text without what a terminal would obey; line breaks and tabs stay.

    Examples
    --------
    >>> without_escapes("\x1b[31mred\x1b[0m\x1b]0;title\x07 and\r\nmore\x9b2J")
    'red and\nmore'
    """
    return _CONTROLS.sub("", _SEQUENCES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
