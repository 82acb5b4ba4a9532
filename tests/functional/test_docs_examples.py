# SPDX-License-Identifier: GPL-2.0-only
"""The examples of docs/writing-tests.md, as they stand there, in guests of the tiny kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.model.build import Build
from tests.functional.plugin_support import Plugin

pytest_plugins = ("pytester",)

PAGE = Path(__file__).parents[2] / "docs" / "writing-tests.md"
_BLOCK = re.compile(r"^```\w+\n(?:#|/\*) (?P<path>[\w./]+)(?: \*/)?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"^def (?P<name>test_\w+)\(.*\).*:(?P<fails>  # fails)?$", re.MULTILINE)


def write_examples(place: Path) -> dict[str, bool]:
    """The files of the page; for each test whether it passes."""
    found = {}
    for block in _BLOCK.finditer(PAGE.read_text()):
        file = place / block["path"]
        file.parent.mkdir(exist_ok=True)
        file.write_text(block["text"])
        found.update({one["name"]: one["fails"] is None for one in _TEST.finditer(block["text"])})
    return found


def test_no_block_of_the_page_is_left_out(tmp_path: Path) -> None:
    assert len(re.findall(r"^```\w+$", PAGE.read_text(), re.MULTILINE)) == len(_BLOCK.findall(PAGE.read_text()))
    assert sorted(set(write_examples(tmp_path).values())) == [False, True]


@pytest.mark.timeout(1200)
def test_the_examples_do_what_the_page_says(tiny: Build, plugin: Plugin) -> None:
    expected = write_examples(plugin.place)
    ended = plugin.run()
    for name, passes in expected.items():
        how = {outcome for test, outcome in ended.items() if test.partition("[")[0] == name}
        assert how == {"passed" if passes else "failure"}, (name, plugin.said)
