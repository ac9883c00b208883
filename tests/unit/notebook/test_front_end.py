"""The modules of the front end, joined into the one that a widget takes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from streamlab.notebook import front_end
from streamlab.notebook.charts import svg

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


def light(colour: str) -> float:
    """Return the relative luminance of a colour: WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def chart_colours(name: str) -> list[str]:
    (listed,) = re.findall(rf"^const {name} = \[(.*)\];$", (FOLDER / "charts.js").read_text(), re.MULTILINE)
    return re.findall(r"#\w{6}", listed)


@pytest.mark.parametrize(
    ("colours", "pages"),
    [
        (chart_colours("COLOURS"), ["#ffffff"]),
        (chart_colours("DARK_COLOURS"), ["#111111", "#212121"]),
        (list(svg.COLOURS), ["#ffffff", "#111111", "#0d1117"]),
    ],
    ids=["light", "dark", "saved"],
)
def test_lines_stand_out_from_the_page_and_no_two_are_of_one_colour(colours: list[str], pages: list[str]) -> None:
    assert len(set(colours)) == len(svg.DASHES) == 8
    assert min(contrast(colour, page) for colour in colours for page in pages) >= 3


def test_all_that_is_styled_is_made_and_all_variables_are_used() -> None:
    style, script = front_end.style(), front_end.script() + front_end.script(front_end.FIGURE)
    states = {"complete", "deleted", "failed", "abandoned", "damaged", "problem", "warning", "busy", "waiting", "idle"}
    for name in set(re.findall(r"\.(sl-[\w-]+)", style)):
        assert name in script or name.rpartition("-")[2] in states, name
    for name in set(re.findall(r"(--sl-[\w-]+):", style)):
        assert f"var({name}" in style, name
