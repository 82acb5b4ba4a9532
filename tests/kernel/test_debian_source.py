# SPDX-License-Identifier: GPL-2.0-only
"""The real thing: linux-source packages from the host's own Debian mirror."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.inputs.debian import MERGED_SINCE
from harness.inputs.resolve import resolve
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.store.layout import Layout
from tests.unit.inputs_support import Heard

pytestmark = pytest.mark.kernel


@pytest.fixture(name="store")
def fixture_store() -> Layout:
    """The user's own store, so that a source that is there is not fetched again."""
    return Layout.from_environment()


def test_newest_source_has_the_merged_series(store: Layout) -> None:
    heard = Heard()
    tree = resolve(SourceSpec.parse("debian"), store, Deadline(900), heard)
    assert tree.version_tuple[:2] >= MERGED_SINCE
    assert tree.origin.startswith("linux-source-")
    assert (tree.path / "drivers/gpu/drm/ttm/ttm_backup.c").is_file()
    said = list(heard.steps)
    again = resolve(SourceSpec.parse("debian"), store, Deadline(900), heard)
    assert again == tree
    assert heard.steps == said  # nothing was fetched or unpacked


def test_base_from_before_the_series(store: Layout) -> None:
    tree = resolve(SourceSpec.parse("debian:6.12"), store, Deadline(900), Heard())
    assert tree.version_tuple[:2] == (6, 12)
    assert (tree.path / "drivers/gpu/drm/ttm/ttm_pool.c").is_file()
    assert not (tree.path / "drivers/gpu/drm/ttm/ttm_backup.c").exists()


def test_the_page_of_invariants_names_what_the_kernel_has(store: Layout) -> None:
    page = (Path(__file__).parents[2] / "docs" / "invariants.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(\w+)\(\)`", page))
    tree = resolve(SourceSpec.parse("debian"), store, Deadline(900), Heard()).path
    places = ("drivers/gpu/drm/ttm", "drivers/gpu/drm/xe", "drivers/dma-buf", "include/drm/ttm")
    files = [
        *(path for place in places for path in (tree / place).glob("*.[ch]")),
        *(tree / "mm").glob("shrinker*.c"),
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert len(names) > 25
    assert {name for name in names if not re.search(rf"\b{name}\(", text)} == set()
