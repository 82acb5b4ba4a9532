# SPDX-License-Identifier: GPL-2.0-only
"""pytest with the plugin, in a project of its own, and what came of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.store.layout import Layout
from tests.conftest import not_a_worker

ROOT = Path(__file__).parents[2]
TINY = ("--ttm-profile", "tiny", "--ttm-ram", "128M", "--ttm-swap", "none", "--ttm-accel", "tcg")


@dataclass
class Plugin:
    """`said` is what the last `run` printed, `texts` what its JUnit XML has of each test."""

    pytester: pytest.Pytester
    said: str = ""
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def made(cls, pytester: pytest.Pytester, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Plugin:
        monkeypatch.setenv("PYTHONPATH", os.fspath(ROOT))
        not_a_worker(monkeypatch)
        # pytester gives a test a home of its own; the kernels are in the user's.
        monkeypatch.setenv("TTM_HARNESS_STORE", os.fspath(layout.root))
        return cls(pytester)

    @property
    def place(self) -> Path:
        return self.pytester.path

    def run(self, *words: str, machine: tuple[str, ...] = TINY) -> dict[str, str]:
        """How each test ended, by JUnit's words; `passed` where it has none."""
        start = ("-p", "harness.pytest_plugin") if not _is_installed() else ()
        found = self.pytester.runpytest_subprocess(*start, *machine, "--junitxml=junit.xml", "-rA", *words)
        self.said = f"{found.stdout.str()}\n{found.stderr.str()}"
        cases = list(ElementTree.parse(self.place / "junit.xml").iter("testcase"))
        self.texts = {one.attrib["name"]: "".join(one.itertext()) for one in cases}
        ends = {one.attrib["name"]: [child.tag for child in one if child.tag != "properties"] for one in cases}
        return {name: " ".join(how) or "passed" for name, how in ends.items()}


def _is_installed() -> bool:
    return "ttm-harness" in entry_points(group="pytest11").names
