"""Failpoints: what is reached is known, nothing is armed, and only the shells of processes can change that."""

from __future__ import annotations

import re
from pathlib import Path

import streamlab
from streamlab.core import failpoints
from streamlab.core.failpoints import POINTS, arm, reach

SOURCES = {path: path.read_text() for path in Path(streamlab.__file__).parent.rglob("*.py")}
KINDS = {"{kind}.fsync": ("state.fsync", "manifest.fsync"), "{kind}.rename": ("state.rename", "manifest.rename")}


def test_the_points_in_the_code_are_those_that_are_known():
    found = [name for text in SOURCES.values() for name in re.findall(r"(?:\breach\(|\bpoint=)f?\"([^\"]+)\"", text)]
    assert {name for one in found for name in KINDS.get(one, (one,))} == set(POINTS)
    assert len(POINTS) >= 25


def test_only_the_module_that_reads_the_environment_arms():
    arming = {path.name for path, text in SOURCES.items() if re.search(r"import .*\barm\b", text)}
    assert arming == {"fault_injection.py"}
    shells = {path.name for path, text in SOURCES.items() if "arm_from_environment(" in text}
    assert shells == {"fault_injection.py", "guardian.py", "supervisor.py", "worker.py"}


def test_nothing_is_armed_until_somebody_does_it():
    reach("sink.commit")
    reached = []
    arm(reached.append)
    reach("sink.commit")
    arm(None)
    reach("sink.write")
    assert reached == ["sink.commit"]
    assert failpoints._armed == []
