"""Conformance cases as values: reading them, and comparing rows with what they expect.

The file format is described in `README.md` beside this module.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a TIMESTAMP without time zone


class Unsupported(Exception):
    """The case asks for something that streamlab cannot say yet; the text says what."""


@dataclass(frozen=True)
class Case:
    """One case: inputs, an operation, and the rows that must come out."""

    id: str
    category: str
    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Case:
        """Read a case from its JSON file."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(data["id"], data["category"], path, data)

    @property
    def input(self) -> list[Row]:
        """The rows or steps of the only input."""
        rows = self.data["input"]
        if isinstance(rows, dict):
            if len(rows) != 1:
                msg = "a case with several inputs"
                raise Unsupported(msg)
            (rows,) = rows.values()
        return list(rows)

    @property
    def tables(self) -> dict[str, list[Row]]:
        """The rows of every input table."""
        rows = self.data["input"]
        return dict(rows) if isinstance(rows, dict) else {self.data.get("input_table", "T"): list(rows)}

    @property
    def operation(self) -> str:
        """What is done: SQL text or words."""
        return str(self.data["operation"])

    @property
    def params(self) -> Mapping[str, Any]:
        """Numbers of the operation, by name."""
        return self.data.get("params") or {}

    @property
    def expected(self) -> list[Any]:
        """What must come out."""
        return list(self.data["expected"])

    @property
    def tolerance(self) -> float:
        """How far floats may be off, relative to their size."""
        return float(self.data.get("tolerance", 1e-9))


def find_cases(folder: Path) -> list[Case]:
    """Read all cases in a folder, and in the folders below it, in order of their ids."""
    return sorted((Case.read(path) for path in folder.rglob("*.json")), key=lambda case: case.id)


def timestamp(value: str) -> dt.datetime:
    """Return a case's ``YYYY-MM-DD HH:MM:SS.mmm`` as a naive datetime; a ``Z`` at the end (an instant) is UTC."""
    return dt.datetime.fromisoformat(value.removesuffix("Z"))


def to_ms(value: str) -> int:
    """Return a case's timestamp text as milliseconds since the epoch."""
    return (timestamp(value) - _EPOCH) // dt.timedelta(milliseconds=1)


def from_ms(ms: int) -> str:
    """Return milliseconds since the epoch as a case's timestamp text."""
    moment = _EPOCH + dt.timedelta(milliseconds=ms)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def plain(value: Any) -> Any:
    """Return a result value in the form that cases use: text for times and decimals, numbers otherwise."""
    if isinstance(value, dt.datetime):
        suffix = "Z" if value.tzinfo is not None else ""
        naive = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo is not None else value
        return f"{naive:%Y-%m-%d %H:%M:%S}.{naive.microsecond // 1000:03d}{suffix}"
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def _same(got: Any, expected: Any, tolerance: float) -> bool:
    got, expected = plain(got), plain(expected)
    if got is None or expected is None:
        return got is expected
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(_same(a, b, tolerance) for a, b in zip(got, expected, strict=True))
    if isinstance(got, Decimal) or (isinstance(expected, str) and isinstance(got, int | float)):
        wanted = Decimal(str(expected))
        value = Decimal(str(got))
        # A decimal of SQL has so many digits; a quotient in Polars has more.
        return value == wanted or (isinstance(got, float) and round(value, -int(wanted.as_tuple().exponent)) == wanted)
    if isinstance(got, int | float) and isinstance(expected, int | float):
        if math.isnan(got) or math.isnan(expected):
            return math.isnan(got) and math.isnan(expected)
        return math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)
    return bool(got == expected)


def same_row(got: Row, expected: Row, tolerance: float = 1e-9) -> bool:
    """Return whether the row has every expected column with its value; other columns do not matter."""
    return all(name in got and _same(got[name], value, tolerance) for name, value in expected.items())


def assert_rows(got: Iterable[Row], expected: Iterable[Row], *, ordered: bool = False, tolerance: float = 1e-9) -> None:
    """Assert that the rows are those expected, as a multiset unless `ordered`."""
    actual, wanted = list(got), list(expected)
    if ordered:
        fine = len(actual) == len(wanted) and all(
            same_row(a, b, tolerance) for a, b in zip(actual, wanted, strict=True)
        )
        assert fine, f"rows differ:\n got      {_show(actual)}\n expected {_show(wanted)}"
        return
    left = list(actual)
    missing = []
    for row in wanted:
        found = next((at for at, other in enumerate(left) if same_row(other, row, tolerance)), None)
        if found is None:
            missing.append(row)
        else:
            del left[found]
    assert (missing, left) == ([], []), f"rows differ:\n missing {_show(missing)}\n too many {_show(left)}"


def _show(rows: Sequence[Row]) -> str:
    return "".join(f"\n   { ({name: plain(value) for name, value in row.items()}) }" for row in rows) or " none"
