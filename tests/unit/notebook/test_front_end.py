"""The modules of the front end, joined into the one that a widget takes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from streamlab.notebook import front_end

FOLDER = Path(front_end.__file__).parent
both = pytest.mark.parametrize("modules", [front_end.PANEL, front_end.FIGURE], ids=["panel", "figure"])


def test_each_file_is_used() -> None:
    assert sorted({*front_end.PANEL, *front_end.FIGURE}) == sorted(path.stem for path in FOLDER.glob("*.js"))
    assert sorted(front_end.STYLES) == sorted(path.stem for path in FOLDER.glob("*.css"))


@both
def test_modules_come_after_those_that_they_import(modules: tuple[str, ...]) -> None:
    for place, name in enumerate(modules):
        text = (FOLDER / f"{name}.js").read_text()
        assert set(re.findall(r'from "\./(\w+)\.js"', text)) <= set(modules[:place]), name


def test_what_is_imported_is_exported_there() -> None:
    for name in {*front_end.PANEL, *front_end.FIGURE}:
        for names, module in re.findall(
            r'^import \{([^}]*)\} from "\./(\w+)\.js";$', (FOLDER / f"{name}.js").read_text(), re.MULTILINE
        ):
            exported = re.findall(r"^export const (\w+)", (FOLDER / f"{module}.js").read_text(), re.MULTILINE)
            assert {one.strip() for one in names.split(",")} <= set(exported), (name, module)


@both
def test_joined_they_are_one_module_without_names_twice(modules: tuple[str, ...]) -> None:
    script = front_end.script(modules)
    assert not re.search(r"^import ", script, re.MULTILINE)
    assert re.findall(r"^export .*", script, re.MULTILINE) == ["export default {"]
    names = Counter(re.findall(r"^(?:const|let|function) (\w+)", script, re.MULTILINE))
    assert [name for name, count in names.items() if count > 1] == []


@both
def test_nothing_is_ever_set_as_markup_or_fetched(modules: tuple[str, ...]) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://(?!www\.w3\.org/2000/svg)",
        front_end.script(modules),
    )
    assert "url(" not in front_end.style()
