"""The house's own rules that no linter knows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

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


def _is_code(path: Path) -> bool:
    return path.suffix in {".py", ".js", ".css"}
