# SPDX-License-Identifier: GPL-2.0-only
"""Layers and what they share: see tests/README.md."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.proc import find_tool
from harness.store.layout import Layout

_LAYERS = ("unit", "functional", "kernel", "bench")


def _layer(item: pytest.Item) -> int:
    folder = Path(item.path).relative_to(Path(__file__).parent).parts[0]
    return _LAYERS.index(folder) if folder in _LAYERS else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Quick layers first; the benchmarks only when they are asked for by their mark."""
    for item in items:
        layer = _LAYERS[_layer(item)]
        if layer != "unit":
            item.add_marker(getattr(pytest.mark, layer))
    items.sort(key=_layer)
    if "bench" not in config.getoption("-m", default=""):
        benches = [item for item in items if item.get_closest_marker("bench")]
        config.hook.pytest_deselected(items=benches)
        items[:] = [item for item in items if item not in benches]


@pytest.fixture(scope="session")
def layout() -> Layout:
    """The user's own store, so that a kernel is built once and not once a test."""
    return Layout.from_environment()


@pytest.fixture
def scratch_layout(tmp_path: Path) -> Layout:
    """A store of this test alone."""
    root = tmp_path / "store"
    root.mkdir()
    return Layout(root)


def require_tool(name: str) -> str:
    """The path of a host tool. At home a missing one skips the test and says so; on CI it fails."""
    path = find_tool(name)
    if path is None:
        message = f"{name} is not installed (ttm-harness doctor --fix --with-tests)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return str(path)
