# SPDX-License-Identifier: GPL-2.0-only
"""The test that the README shows, on the newest kernel in 256M; and the same with a module that warns."""

from __future__ import annotations

import re
import textwrap

import pytest

from harness.store.layout import Layout
from tests.functional.plugin_support import ROOT, Plugin

pytest_plugins = ("pytester",)

EXAMPLE = re.search(
    r"^    # (?P<name>test_\w+\.py)\n(?P<text>(?:    .*\n|\n)+)", (ROOT / "README.md").read_text(), re.M
)
WARNS = """
from pathlib import Path

def test_warns(guest):
    with guest.module(Path("warns").absolute()):
        pass
"""
MODULE = """
#include <linux/module.h>
static int __init warns_init(void) { WARN(1, "on purpose"); return 0; }
module_init(warns_init);
static void __exit warns_exit(void) { }
module_exit(warns_exit);
MODULE_DESCRIPTION("Warns");
MODULE_LICENSE("GPL");
"""


@pytest.mark.timeout(1800)
def test_the_example_of_the_readme(
    pytester: pytest.Pytester, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EXAMPLE is not None
    plugin = Plugin.made(pytester, layout, monkeypatch)
    (plugin.place / EXAMPLE["name"]).write_text(textwrap.dedent(EXAMPLE["text"]))
    (plugin.place / "warns").mkdir()
    (plugin.place / "warns" / "Kbuild").write_text("obj-m := warns.o\n")
    (plugin.place / "warns" / "warns.c").write_text(MODULE)
    (plugin.place / "test_warns.py").write_text(WARNS)
    found = plugin.run("-n", "2", machine=())
    assert found == {"test_memory_goes_to_swap": "passed", "test_warns": "failure"}, plugin.said
    assert re.search(r"warns_init.*\[warns\]", plugin.texts["test_warns"])


def test_it_is_ten_lines() -> None:
    assert EXAMPLE is not None
    assert len(EXAMPLE["text"].strip().splitlines()) <= 10
