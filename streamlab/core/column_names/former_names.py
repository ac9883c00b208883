"""What columns of ours were called before they had a prefix: in checkpoints, plans and ids of steps of those days."""

from __future__ import annotations

import re

from streamlab.core.column_names.own_columns import PREFIX, own

_FORMER_PREFIX = "__"
_KEPT = re.compile(r"__(?:all|closed|due|end|pane|rows|start|p\d+|having\d+|key_.*)", re.DOTALL)
"""Columns of ours that state was kept in. No user's column could have such a name then."""
_GIVEN = "__given_"


def renewed(column: str) -> str:
    """Return what a column is called now, by its name of those days; users' columns have the names that they had.

    >>> renewed("__pane"), renewed("__given___having0"), renewed("__index_level_0__"), renewed("__sl_pane")
    ('__sl_pane', '__sl_given___sl_having0', '__index_level_0__', '__sl_pane')
    """
    if column.startswith(_GIVEN):
        return own(f"given_{renewed(column.removeprefix(_GIVEN))}")
    return own(column.removeprefix(_FORMER_PREFIX)) if _KEPT.fullmatch(column) else column


def former(text: str) -> str:
    """Return text with columns of ours as they were called: ids that are made of it stay what they were.

    >>> former("drop(['__sl_having0'])")
    "drop(['__having0'])"
    """
    return text.replace(PREFIX, _FORMER_PREFIX)
