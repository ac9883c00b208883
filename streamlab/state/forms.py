"""What the state of a step is made of, in words that can be stored, compared and shown.

A :class:`StateForm` says what must be the same for stored state to go into a step, and what users call the columns in
which it is kept. It is part of every checkpoint, so one can be compared with a query, and read, without the query that
wrote it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl
from polars.datatypes import DataTypeClass

from streamlab.core.aggregation import AggregateSplit
from streamlab.core.column_names.own_columns import in_words as column_in_words
from streamlab.core.column_names.own_columns import is_own

_MOST_CATEGORIES = 5
_MOST_TEXT = 60
_UNITS = {"us": "μs", "ns": "ns", "ms": "ms"}


@dataclass(frozen=True)
class Fact:
    """Something about state that must be the same.

    Attributes
    ----------
    name : str
        What it is about: ``key carrier``, ``windows``, ``aggregate 2``.
    value : str
        What it is, in words that do not depend on the version of any library.
    written : str
        The expression behind it as Polars writes it, which other versions of Polars may write in another way.
    """

    name: str
    value: str
    written: str = ""

    def is_as(self, other: Fact | None, *, same_engine: bool) -> bool:
        """Return whether it says the same; expressions are only compared when one version of Polars wrote both."""
        if other is None or self.value != other.value:
            return False
        return self.written == other.written or not same_engine

    def __str__(self) -> str:
        return f"{in_words(self.written)}: {self.value}" if self.written else self.value


@dataclass(frozen=True)
class Shown:
    """How a column of state is shown.

    Attributes
    ----------
    name : str
        What users call it; empty for a column that is not shown.
    is_time : bool
        Whether its numbers are microseconds since 1970.
    zone : str
        Time zone in which such a time is shown; empty for none.
    """

    name: str
    is_time: bool = False
    zone: str = ""


@dataclass(frozen=True)
class StateForm:
    """The form of one step's state.

    Attributes
    ----------
    kind : str
        What sort of state it is; of another sort, nothing can be compared.
    facts : tuple[Fact, ...]
        What must be the same.
    columns : Mapping[str, Shown]
        How columns are shown whose inner names users have not given.
    """

    kind: str
    facts: tuple[Fact, ...] = ()
    columns: Mapping[str, Shown] = field(default_factory=dict)


def differing_facts(
    stored: StateForm, wanted: StateForm, *, same_engine: bool
) -> list[tuple[str, Fact | None, Fact | None]]:
    """Return what differs between two forms: what it is about, what is stored, what is wanted.

    >>> old = StateForm("groups", (Fact("key k", "Int64"), Fact("aggregate 1", "Int64", "len()")))
    >>> new = StateForm("groups", (Fact("key k", "String"), Fact("aggregate 1", "Int64", "len()")))
    >>> [(name, str(a), str(b)) for name, a, b in differing_facts(old, new, same_engine=True)]
    [('key k', 'Int64', 'String')]
    """
    if stored.kind != wanted.kind:
        return [("state", Fact("state", stored.kind), Fact("state", wanted.kind))]
    before = {fact.name: fact for fact in stored.facts}
    after = {fact.name: fact for fact in wanted.facts}
    names = dict.fromkeys((*before, *after))
    pairs = [(name, before.get(name), after.get(name)) for name in names]
    return [(n, a, b) for n, a, b in pairs if a is None or not a.is_as(b, same_engine=same_engine)]


def comparison(differences: Iterable[tuple[str, Fact | None, Fact | None]], stored: str, wanted: str) -> str:
    """Return both sides of some differences as an aligned table of text.

    >>> print(comparison([("key k", Fact("key k", "Int64"), Fact("key k", "String"))], "savepoint", "query"))
           savepoint  query
    key k  Int64      String
    """
    rows = [["", stored, wanted]]
    for name, before, after in differences:
        texts = ["-" if fact is None else str(fact) for fact in (before, after)]
        if texts[0] == texts[1] and before is not None and after is not None:
            texts = [before.written, after.written]
        rows.append([name, *texts])
    widths = [max(len(row[at]) for row in rows) for at in range(2)]
    return "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip() for row in rows)


def dtype_text(dtype: pl.DataType | DataTypeClass) -> str:
    """Return a dtype in words of our own, which stay the same when Polars' change.

    >>> dtype_text(pl.List(pl.Datetime("us", "UTC"))), dtype_text(pl.Struct({"a": pl.Int8}))
    ('List[Datetime[μs, UTC]]', 'Struct{a: Int8}')
    """
    name = dtype.base_type().__name__
    return f"{name}{_parameters(dtype)}"


def _parameters(dtype: pl.DataType | DataTypeClass) -> str:
    """Return what follows the name of a dtype."""
    match dtype:
        case pl.Datetime(time_unit=unit, time_zone=zone):
            text = f"[{_UNITS[unit]}, {zone}]" if zone else f"[{_UNITS[unit]}]"
        case pl.Duration(time_unit=unit):
            text = f"[{_UNITS[unit]}]"
        case pl.Decimal(precision=precision, scale=scale):
            text = f"[{precision}, {scale}]"
        case pl.Array(inner=inner, size=size):
            text = f"[{dtype_text(inner)}, {size}]"
        case pl.List(inner=inner):
            text = f"[{dtype_text(inner)}]"
        case pl.Struct(fields=fields):
            text = f"{{{', '.join(f'{one.name}: {dtype_text(one.dtype)}' for one in fields)}}}"
        case pl.Enum(categories=categories):
            words = categories.to_list()
            digest = hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]
            many = len(words) > _MOST_CATEGORIES
            text = f"[{', '.join(words[:_MOST_CATEGORIES])}{f', … {len(words)} in all, {digest}' if many else ''}]"
        case _:
            text = ""
    return text


def aggregate_facts(split: AggregateSplit, partials: pl.Schema, rows: pl.Schema) -> list[Fact]:
    """Return what must be the same of aggregates: their partial results in order, or the columns of kept rows."""
    if not split.is_incremental:
        return [Fact(f"column {name}", dtype_text(rows[name])) for name in split.columns if name in rows]
    facts = []
    for at, expression in enumerate(split.partial, start=1):
        dtype = dtype_text(partials[expression.meta.output_name()])
        facts.append(Fact(f"aggregate {at}", dtype, str(expression.meta.undo_aliases())))
    return facts


def aggregate_columns(split: AggregateSplit) -> dict[str, Shown]:
    """Return how the partial results are shown: as the user's column when it is made of nothing else.

    >>> split = AggregateSplit(
    ...     (pl.len().alias("__sl_p0"),), (), (pl.col("__sl_p0").alias("flights"),), (), (), ordered=False, reports=()
    ... )
    >>> aggregate_columns(split)
    {'__sl_p0': Shown(name='flights', is_time=False, zone='')}
    """
    own: dict[str, str] = {}
    named = [expression for expression in split.final if not is_own(expression.meta.output_name())]
    uses = [(expression.meta.output_name(), set(expression.meta.root_names())) for expression in named]
    for output, used in uses:
        if len(used) == 1 and sum(used <= others for _, others in uses) == 1:
            own[next(iter(used))] = output
    shown: dict[str, Shown] = {}
    taken = set(own.values())
    for expression in split.partial:
        name, text = expression.meta.output_name(), in_words(str(expression.meta.undo_aliases()))
        title = own[name] if name in own and not text.startswith("unique(") else text
        while title in taken - {own.get(name)}:
            title += "_"
        taken.add(title)
        shown[name] = Shown(title)
    return shown


def condition_columns(split: AggregateSplit) -> dict[str, Shown]:
    """Return how the conditions by which groups are chosen are shown, which stand among the results."""
    return {report.name: Shown(column_in_words(report.name)) for report in split.reports if is_own(report.name)}


def in_words(written: str) -> str:
    """Return an expression as Polars writes it, without what only Polars must know.

    >>> in_words('col("delay").cast(Float64).sum()'), in_words('[(col("a")) * (dyn int: 2)].max()')
    ('sum(delay)', 'max(a * 2)')
    """
    text = re.sub(r"\.(strict_)?cast\(\w+(\([^()]*\))?\)", "", written)
    text = re.sub(r"\.sort_by\(by=\[.*?\], sort_option=.*?\}\)", "", text)
    text = re.sub(r'col\("([^"]*)"\)', r"\1", text)
    text = re.sub(r"dyn \w+: ", "", text)
    text = re.sub(r"\((\w+)\.(\w+)\(\)\)", r"\2(\1)", text)
    text = text.replace(".reverse().first()", ".last()").replace(".unique().implode()", ".unique()")
    while (simpler := re.sub(r"\((\w+(?:\(\w*\))?)\)(?= |\]|\)|$)", r"\1", text)) != text and "[" in text:
        text = simpler
    text = re.sub(r"\[([^\[\]]*)\]", r"\1", text) if text.count("[") == 1 else text
    call = re.fullmatch(r"(.+)\.(\w+)\(\)", text)
    text = f"{call[2]}({call[1]})" if call else text
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"
