# SPDX-License-Identifier: GPL-2.0-only
"""Layers and what they share: see tests/README.md."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from harness.proc import find_tool
from harness.store.layout import Layout

settings.register_profile("no-seconds", deadline=None)  # of the profile in use: on CI it is Hypothesis' own for CI
settings.load_profile("no-seconds")

_WORTH_SECONDS = 60.0  # a run of less needs no account of itself
_LAYERS = ("unit", "functional", "kernel", "bench")
_SPENT = pytest.StashKey[float]()  # CPU seconds of this process and its children, when the last phase of a test ended


def _layer(item: pytest.Item) -> int:
    here = Path(__file__).parent
    folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""  # --ttm-suite
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Each report says how much CPU its test took, with all processes that it waited for."""
    report = yield
    now = sum(os.times()[:4])
    vars(report)["cpu_seconds"] = now - item.session.stash.get(_SPENT, now)
    item.session.stash[_SPENT] = now
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What each layer cost, in minutes of workers and of CPU, and the dozen tests that cost the most of either."""
    seconds: dict[str, float] = defaultdict(float)
    cpu: dict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid] += report.duration
            cpu[report.nodeid] += getattr(report, "cpu_seconds", 0.0)
            counts[_layer_of(report.nodeid)] += report.when == "call"
    if sum(seconds.values()) < _WORTH_SECONDS:
        return
    terminalreporter.section("what the layers cost")
    for layer in _LAYERS:
        spent, worked = (sum(took[test] for test in took if _layer_of(test) == layer) / 60 for took in (seconds, cpu))
        if counts[layer]:
            terminalreporter.write_line(
                f"{layer:<12}{counts[layer]:>6} tests {spent:>7.1f} min {worked:>7.1f} min CPU"
            )
    for test in sorted(seconds, key=lambda one: -max(seconds[one], cpu[one]))[:12]:
        terminalreporter.write_line(f"{seconds[test]:>8.0f} s {cpu[test]:>6.0f} s CPU  {test}")


def _layer_of(test: str) -> str:
    parts = test.split("/")
    return parts[1] if len(parts) > 1 and parts[1] in _LAYERS else "unit"


@pytest.fixture(scope="session")
def layout(own_runs: None) -> Layout:
    """The user's own store, so that a kernel is built once and not once a test."""
    return Layout.from_environment()


@pytest.fixture(scope="session")
def own_runs() -> Iterator[None]:
    """What a test runs in the user's store lies apart there: `report latest` stays the user's, and that of another
    worker of pytest-xdist the other's.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TTM_HARNESS_RUNS", f"test-{worker}-runs" if worker else "test-runs")
        yield


def in_store(store: Path) -> dict[str, str]:
    """The environment of a command that is to use a store of the test's own."""
    return {
        **{name: value for name, value in os.environ.items() if name != "TTM_HARNESS_RUNS"},
        "TTM_HARNESS_STORE": str(store),
    }


def require_module(name: str, extra: str) -> ModuleType:
    """A Python module of one of the extras. At home a missing one skips the test and says so; on CI it fails."""
    try:
        return import_module(name)
    except ImportError:
        message = f"{name} is not installed (pip install -e '.[{extra}]')"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message, allow_module_level=True)


def not_a_worker(patch: pytest.MonkeyPatch) -> None:
    """For a pytest that a test starts: it is no worker of pytest-xdist, whatever this one is."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        patch.delenv(name, raising=False)


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
