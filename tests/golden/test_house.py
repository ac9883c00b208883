"""The house's own rules that no linter knows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

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


def test_names_of_columns_that_streamlab_computes_with_are_reserved() -> None:
    own = re.compile(r"""["'](__[a-z][a-z_0-9]*)(\{\w+\})?["']""")
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "streamlab").rglob("*.py"))
    names = {name + ("0" if more else "") for name, more in own.findall(text) if not name.endswith("__")}
    assert {"__row_kind", "__pane", "__p0"} <= names
    assert [name for name in sorted(names) if not is_reserved(name)] == []


def _is_code(path: Path) -> bool:
    return path.suffix in {".py", ".js", ".css"}
