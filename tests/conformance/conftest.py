"""Runs every case of a folder as a test and closes with a table of what passes, fails and is not yet supported."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from conformance_case import Case, find_cases

_OWN_CASES = Path(__file__).parent / "cases"
_OUTCOMES = ("passed", "failed", "unsupported", "not gated")
_RESULTS: pytest.StashKey[dict[str, Counter[str]]] = pytest.StashKey()
_REASONS: pytest.StashKey[Counter[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases", type=Path, default=_OWN_CASES, metavar="DIR", help="folder with conformance cases (JSON)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RESULTS] = defaultdict(Counter)
    config.stash[_REASONS] = Counter()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        folder = metafunc.config.getoption("--cases")
        cases = find_cases(folder)
        if not cases:
            msg = f"--cases: no *.json below {folder}"
            raise pytest.UsageError(msg)
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    report = yield
    case = getattr(item, "callspec", None) and item.callspec.params.get("case")
    if isinstance(case, Case) and (report.when == "call" or report.outcome != "passed"):
        outcome = report.outcome
        if report.skipped:
            reason = str(report.longrepr[2]).removeprefix("Skipped: ")
            outcome = "not gated" if reason.startswith("not gated") else "unsupported"
            item.config.stash[_REASONS][f"{case.category}: {reason}"] += 1
        item.config.stash[_RESULTS][case.category][outcome] += 1
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[_RESULTS]
    if not results:
        return
    width = max(map(len, results)) + 2
    heading = "category".ljust(width) + "  ".join(
        name.rjust(11) for name in ("pass", "fail", "unsupported", "not gated")
    )
    terminalreporter.section("conformance")
    terminalreporter.write_line(heading)
    for category in sorted(results):
        figures = "  ".join(str(results[category][outcome]).rjust(11) for outcome in _OUTCOMES)
        terminalreporter.write_line(category.ljust(width) + figures)
    total = sum(results.values(), Counter())
    terminalreporter.write_line("all".ljust(width) + "  ".join(str(total[o]).rjust(11) for o in _OUTCOMES))
    for reason, count in sorted(config.stash[_REASONS].items()):
        terminalreporter.write_line(f"  {count:4d} x {reason}")
