"""One page of a table: chosen, sorted and cut in Polars, so that only what is seen is ever turned into text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import polars as pl
from polars.exceptions import PolarsError

from streamlab.notebook.panel.choice import TableChoice
from streamlab.observe.preview import Preview, as_text, first_rows, is_sortable, plain

LONGEST_CELL = 400
"""Characters of a cell: more than there is room for, so that all of it can be read by pointing at it."""
SAME, NEW, CHANGED = 0, 1, 2
"""Marks of rows."""
MARKED_S = 1.5
"""How long a mark stays."""
_CONDITION = re.compile(r"[=<>!]|\b(is|in|like|ilike|between|and|or|not)\b", re.IGNORECASE)
"""What makes a text a condition and not something to look for."""


@dataclass(frozen=True)
class Page:
    """A page of a table.

    Attributes
    ----------
    shown : Preview
        Its rows as text; `height` counts the rows of all pages.
    whole : int
        Rows of the table, of which the condition has left `shown.height`.
    first : int
        Place of the first row among those that are left.
    marks : tuple[int, ...]
        What is new: `SAME`, `NEW` or `CHANGED` for each row.
    error : str
        Why the condition could not be used.
    of_all : int
        Rows that there have been, when the table holds only the newest of them.
    """

    shown: Preview
    whole: int
    first: int = 0
    marks: tuple[int, ...] = ()
    error: str = ""
    of_all: int = 0


def matching(table: pl.DataFrame, where: str) -> tuple[pl.DataFrame, str]:
    """Return the rows that a condition leaves, and what was wrong with it.

    A text with an operator is a condition in SQL; any other is looked for in all columns.

    Examples
    --------
    >>> flights = pl.DataFrame({"origin": ["JFK", "LGA"], "n": [7, 8]})
    >>> [matching(flights, where)[0].height for where in ("", "jfk", "n > 6", "n >")]
    [2, 1, 2, 2]
    """
    where = where.strip()
    if not where:
        return table, ""
    if not _CONDITION.search(where):
        return table.filter(_contains(table, where)), ""
    try:
        return table.filter(pl.sql_expr(where)), ""
    except PolarsError as error:
        found = table.filter(_contains(table, where))
        return (found, "") if found.height else (table, plain(str(error).partition("\n")[0]))


def page_of(
    table: pl.DataFrame, choice: TableChoice, *, in_order: str = "", counts: bool = False
) -> tuple[pl.DataFrame, Page]:
    """Return the rows of the chosen page, as a frame and as text.

    Parameters
    ----------
    table
        All rows.
    choice
        What to show of them.
    in_order
        In words, how the rows lie; empty when their order says nothing.
    counts
        Whether its integers are counts, and no years or names.
    """
    left, error = matching(table, choice.where)
    first = first_place(choice, left.height)
    by = table.columns[choice.sort] if choice.sort is not None and choice.sort < table.width else None
    if by is not None and is_sortable(table.schema[by]):
        ordered = left.lazy().sort(by, descending=choice.descending, nulls_last=True, maintain_order=True)
        rows = ordered.slice(first, choice.rows).collect()
        order = f"by {plain(by)}" + (", descending" if choice.descending else "")
    elif in_order:
        rows, order = left.slice(first, choice.rows), in_order
    else:
        rows, order = first_rows(left, choice.rows, first)
    return rows, Page(
        as_text(rows, left.height, order, counts=counts, longest=LONGEST_CELL), table.height, first, error=error
    )


def first_place(choice: TableChoice, height: int) -> int:
    """Return the place of the first row of the chosen page, or of the last page of a table that has not as many."""
    return min(choice.page, max(0, height - 1) // choice.rows) * choice.rows


@dataclass
class Marks:
    """Tells which rows of a page are new or have changed since it was last shown.

    Rows are known again by the table's keys, or, without keys, by all that they hold. A mark stays for a while, so that
    a row that changes with each look does not flicker. When something else is chosen, the rows of the new page are all
    old.
    """

    _choice: TableChoice | None = None
    _seen: dict[int, tuple[int, int, float]] = field(default_factory=dict)
    """Of each row its content, its mark, and since when it has had it."""

    def of(
        self, rows: pl.DataFrame, keys: tuple[str, ...] | None, choice: TableChoice, now_s: float
    ) -> tuple[int, ...]:
        """Return the mark of each row, and remember the rows."""
        if rows.is_empty() or any(dtype == pl.Object for dtype in rows.dtypes):
            self._choice, self._seen = choice, {}
            return (SAME,) * rows.height
        contents = rows.hash_rows().to_list()
        names = [key for key in keys or () if key in rows.columns]
        ids = rows.select(names).hash_rows().to_list() if names else contents
        before, is_same = self._seen, choice == self._choice
        self._choice, self._seen = choice, {}
        for id_, content in zip(ids, contents, strict=True):
            old = before.get(id_) if is_same else (content, SAME, now_s)
            self._seen[id_] = (content, *_marked(old, content, now_s))
        return tuple(self._seen[id_][1] for id_ in ids)


def _marked(old: tuple[int, int, float] | None, content: int, now_s: float) -> tuple[int, float]:
    """Return a row's mark, and since when it has had it."""
    if old is None:
        return NEW, now_s
    before, mark, since_s = old
    is_fresh = mark != SAME and now_s - since_s < MARKED_S
    if before != content and not (is_fresh and mark == NEW):
        return CHANGED, now_s
    return (mark, since_s) if is_fresh else (SAME, now_s)


def count_text(page: Page, empty: str = "no rows") -> str:
    """Return which rows are shown, of how many, in words; `empty` is what to say of a table without any.

    Examples
    --------
    >>> rows = pl.DataFrame({"t": range(30)})
    >>> count_text(page_of(rows, TableChoice(page=1))[1])
    'rows 11 to 20 of 30, by t'
    >>> count_text(Page(as_text(rows, 30), 30, of_all=5000)), count_text(Page(as_text(rows[:9], 30), 30, of_all=99))
    ('the newest 30 of 5,000 rows', 'rows 1 to 9 of the newest 30 of 99')
    """
    here, left = len(page.shown.rows), page.shown.height
    is_part = page.of_all > page.whole
    table = f"the newest {page.whole:,} of {page.of_all:,}" if is_part else f"{page.whole:,}"
    if not page.whole:
        return empty
    if not left:
        return f"none of {'' if is_part else 'the '}{table} rows match"
    of = f"of the {left:,} that match of {table}" if left < page.whole else f"of {table}"
    count = (
        f"{table} row{'s'[: is_part or left != 1]}"
        if here == page.whole
        else f"rows {page.first + 1:,} to {page.first + here:,} {of}"
    )
    columns = f"the first {len(page.shown.columns)} of {page.shown.width} columns"
    return ", ".join([count, *filter(None, [page.shown.order]), *([columns] if _is_cut(page.shown) else [])])


def _is_cut(shown: Preview) -> bool:
    return len(shown.columns) < shown.width


def _contains(table: pl.DataFrame, text: str) -> pl.Expr:
    """Return whether any column holds a text, in whichever case; lists and structs are not searched."""
    names = [name for name, dtype in table.schema.items() if is_sortable(dtype) and dtype != pl.Binary]
    columns = (pl.col(name).cast(pl.String).str.to_lowercase() for name in names)
    return pl.any_horizontal(False, *(column.str.contains(text.lower(), literal=True) for column in columns))
