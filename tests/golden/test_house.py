"""The house's own rules that no linter knows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import streamlab as sl
from streamlab.core.column_names.own_columns import own
from streamlab.plan.schema import is_reserved

ROOT = Path(__file__).parents[2]
MOST_LINES = 600


def test_tests_have_names_of_their_own() -> None:
    """Functions of tests travel to workers by the name of their module, which has no folder in it."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_files_are_short() -> None:
    files = [path for folder in ("streamlab", "tests") for path in (ROOT / folder).rglob("*.*") if _is_code(path)]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_columns_of_our_own_have_the_prefix() -> None:
    """None is written out where it is used: names are made by `own`, and so are reserved."""
    literal = re.compile(r"""["'](__[a-z][a-z_0-9]*)(?:\{[^}]*\})?["']""")
    said = {
        path.relative_to(ROOT / "streamlab").as_posix(): [name for name in found if not name.endswith("__")]
        for path in (ROOT / "streamlab").rglob("*.py")
        if (found := literal.findall(_without_docstrings(path)))
    }
    assert {path: names for path, names in said.items() if names} == {
        "core/column_names/own_columns.py": ["__sl_"],
        "core/changelog.py": ["__row_kind"],
        "core/column_names/former_names.py": ["__given_"],
    }
    assert is_reserved(own("pane"))


def _without_docstrings(path: Path) -> str:
    return re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_no_package_has_the_name_of_something_public() -> None:
    """An imported package is an attribute of the package that it is in, so it would take the place of the other."""
    assert {path.stem for path in (ROOT / "streamlab").iterdir()} & {*sl.__all__} == set()


def _is_code(path: Path) -> bool:
    return path.suffix in {".py", ".js", ".css"}
