# SPDX-License-Identifier: GPL-2.0-only
"""What containment costs: the same objects compiled in the sandbox and without it, in turn, and a make with nothing
to do. Processor time is compared, that of all children: it is the same however busy the machine is.
"""

from __future__ import annotations

import resource
import statistics
from pathlib import Path

import pytest

from harness.checkout import data_directory
from harness.inputs.resolve import resolve
from harness.kernel.build import obtain
from harness.kernel.fragments import read_profile
from harness.kernel.incremental import Seed, plant
from harness.kernel.make import OBJECTS, Make, prepare_place
from harness.model.tree import SourceSpec
from harness.proc import Deadline
from harness.sandbox import BACKENDS, CHOICE, containment
from harness.store.layout import Layout
from tests.functional.conftest import Quiet

SECONDS = 7200
PAIRS = 5
FOLDERS = ("drivers/gpu/drm/ttm/",)
MOST = 1.02


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def make(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Make:
    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    profile = read_profile("lean", data_directory("kernel-configs"))
    build = obtain(tree, profile, layout, Deadline(SECONDS), Quiet())
    place = tmp_path_factory.mktemp("bench") / "place"
    assert plant(Seed(build, frozenset()), tree, place, place.with_name("lock"), Deadline(SECONDS))
    prepare_place(place, tree.path)
    made = Make(place)
    run(made)
    return made


def run(make: Make) -> float:
    began = processor_seconds()
    make.run("-j2", *FOLDERS, deadline=Deadline(SECONDS), log=make.objects / "bench.log")
    return processor_seconds() - began


def compile_again(make: Make) -> float:
    for folder in FOLDERS:
        for path in (make.place / OBJECTS / folder).rglob("*.o"):
            path.unlink()
    return run(make)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_contained_build_costs_at_most_two_percent_more(
    make: Make, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The watch over sources that takes the place of containment costs time of its own, and is not what is compared.
    monkeypatch.setattr("harness.kernel.make.Watch", lambda _: None)
    monkeypatch.setenv(CHOICE, backend)
    if not containment().backend:
        pytest.skip(containment().why)
    times: dict[str, list[float]] = {}
    for _ in range(PAIRS):
        for choice in (backend, "none"):
            monkeypatch.setenv(CHOICE, choice)
            times.setdefault(choice, []).append(compile_again(make))
            times.setdefault(f"{choice}, nothing to do", []).append(run(make))
    for what, found in times.items():
        print(f"\n{what}: {statistics.median(found):.2f} s of processor time (of {PAIRS}: {sorted(found)})")
    ratio = statistics.median(a / b for a, b in zip(times[backend], times["none"], strict=True))
    print(f"{backend}: {ratio:.4f} times the build without")
    assert ratio <= MOST


def test_the_sources_are_looked_over_in_a_few_seconds(layout: Layout) -> None:
    """Whenever a source is taken from the store, and with all content once a day."""
    import time

    from harness.store.source_seal import find_damage

    tree = resolve(SourceSpec.parse("debian"), layout, Deadline(SECONDS), Quiet())
    beside: Path = tree.path.parent
    began = time.process_time()
    assert find_damage(tree.path, beside) == ()
    quick = time.process_time() - began
    began = time.process_time()
    every = {str(path.relative_to(tree.path)) for path in tree.path.rglob("*")}
    listed = time.process_time()
    assert find_damage(tree.path, beside, every) == ()
    print(f"\n{len(every)} files and folders: {quick:.1f} s, with content {time.process_time() - listed:.1f} s")
