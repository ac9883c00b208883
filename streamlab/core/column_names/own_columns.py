"""Names of the columns that streamlab computes with, beside those of a user: all begin with `PREFIX`, no user's does.

The row kind of a changelog (`streamlab.core.changelog.ROW_KIND`) is the one exception. Whoever writes a sink or tests
a query with `streamlab.testing` sees it, and tables of results hold it, so it keeps its name.
"""

from __future__ import annotations

PREFIX = "__sl_"
"""What the name of every such column begins with."""


def own(name: str) -> str:
    """Return the name of a column of ours.

    >>> own("pane")
    '__sl_pane'
    """
    return PREFIX + name


def is_own(column: str) -> bool:
    """Return whether a column is one of ours, which no user has named or sees.

    >>> is_own("__sl_pane"), is_own("__pane")
    (True, False)
    """
    return column.startswith(PREFIX)


_KEY = own("key_")
_HAVING = own("having")


def condition_column(at: int) -> str:
    """Return the name of a condition by which groups are chosen, by its number.

    >>> condition_column(0)
    '__sl_having0'
    """
    return f"{_HAVING}{at}"


def key_column(name: str) -> str:
    """Return what the key of that name is called where an input column of the same name stands beside it.

    >>> key_column("city")
    '__sl_key_city'
    """
    return _KEY + name


def key_name(column: str) -> str:
    """Return a key's own name; that of any other column as it is.

    >>> key_name("__sl_key_city"), key_name("city")
    ('city', 'city')
    """
    return column.removeprefix(_KEY)


def is_key(column: str) -> bool:
    """Return whether a column is a key under such a name.

    >>> is_key("__sl_key_city"), is_key("__key_city")
    (True, False)
    """
    return column.startswith(_KEY)


def in_words(column: str) -> str:
    """Return what is said of a column of ours in messages.

    >>> in_words("__sl_key_city"), in_words("__sl_new_start"), in_words("__sl_having0")
    ('city', 'new start', 'condition 1')
    """
    if is_key(column):
        return key_name(column)
    number = column.removeprefix(_HAVING)
    if number != column and number.isdecimal():
        return f"condition {int(number) + 1}"
    return column.removeprefix(PREFIX).strip("_").replace("_", " ")
