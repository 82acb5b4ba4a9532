# SPDX-License-Identifier: GPL-2.0-only
"""A kept boot made smaller, with a guest that stands in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow import minimise as minimise_module
from harness.flow.kept_boot import find_boot
from harness.flow.laboratory import Budget
from harness.flow.minimise import (
    BootToShrink,
    MinimiseOptions,
    command_of,
    minimise,
    plan_text,
    problem_of,
    smaller,
    subject_of,
    with_patches,
)
from harness.flow.planfile import Axes, parse_plan
from harness.flow.plans import Extras, requests_of
from harness.flow.request import Request
from harness.model.cell import Knob
from harness.model.codec import from_json, to_json
from harness.model.errors import UserError
from harness.model.kernel import KernelSpec
from harness.model.machine import Accel, Machine, Swap
from harness.model.search import MinimiseOutput, Predicate
from harness.model.suite import KnobForm, KnobSpec
from harness.model.tree import SourceSpec
from harness.reports.minimise import print_minimised
from harness.store.layout import Layout
from tests.unit.schemas import require_fits
from tests.unit.stand_in import Step as Act
from tests.unit.stand_in.cells import BOOTS, SUITE, begins, case, ends, good, powers_off, request
from tests.unit.test_search_flow import World

pytestmark = pytest.mark.timeout(120)
OPTIONS = MinimiseOptions(0.95, 200, Budget())
MIB = 1 << 20
ANY = Predicate()


def plays(cases: tuple[str, ...], red: str = "") -> tuple[Act, ...]:
    told = [
        step for number, name in enumerate(cases, 1) for step in case(name, number, "not ok" if name == red else "ok")
    ]
    return (*BOOTS, *begins("p", cases), *told, *ends(), *powers_off())


class Small(World):
    """Case c is red where b ran before it and there are 96M of RAM."""

    def __init__(self, place: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(place, layout, monkeypatch)
        monkeypatch.setattr(minimise_module, "suite_named", {"p": SUITE}.__getitem__)
        monkeypatch.setattr("harness.flow.repro.suite_named", {"p": SUITE}.__getitem__)
        self.fails: Callable[[Request], bool] = lambda wanted: "b" in wanted.cases and wanted.machine.ram >= 96 * MIB
        self.plays(plays(("a", "b", "c", "d"), "c"))
        _, self.run = self.execute(request(seed=7))

    def script(self, wanted: Request) -> tuple[Act, ...]:
        return plays(wanted.cases, "c" if self.fails(wanted) else "")

    def minimise(self, predicate: Predicate = ANY) -> MinimiseOutput:
        subject = subject_of(find_boot(self.layout, self.run.name), predicate)
        return minimise(subject, OPTIONS, self.laboratory(), self.told)


@pytest.fixture
def small(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Small:
    return Small(tmp_path, scratch_layout, monkeypatch)


def test_what_is_left_is_what_it_takes(small: Small, tmp_path: Path) -> None:
    output = small.minimise()
    assert (output.failed, output.finished, output.exit_status) == (True, True, 1)
    assert [(one.name, one.before, one.after) for one in output.shrunk if one.before != one.after] == [
        ("RAM", "256M", "96M"),
        ("vCPUs", "2", "1"),
        ("cases", "3", "2"),
    ]
    assert output.smallest.bad >= 3
    assert "--case b,c --ram 96M" in output.command
    assert 'cases = ["b", "c"]' in output.plan
    assert from_json(MinimiseOutput, to_json(output)) == output
    require_fits(to_json(output), "minimise-1")
    with (tmp_path / "out").open("w") as file:
        print_minimised(output, tmp_path, file)
    assert "as it was it failed in 3/3 bad; now in 3/3 bad" in (tmp_path / "out").read_text()


def test_the_same_command_makes_no_boot_twice(small: Small) -> None:
    small.minimise()
    assert small.minimise().boots == 0


def test_what_does_not_fail_again(small: Small, tmp_path: Path) -> None:
    small.fails = lambda _: False
    output = small.minimise()
    assert (output.failed, output.exit_status, output.boots) == (False, 3, 10)
    with (tmp_path / "out").open("w") as file:
        print_minimised(output, tmp_path, file)
    assert "did not fail again: 0/10 bad" in (tmp_path / "out").read_text()


def test_a_boot_in_which_nothing_failed(small: Small) -> None:
    small.plays(good(("a",)))
    _, run = small.execute(replace(request(seed=8), cases=("a",)))
    with pytest.raises(UserError, match="has nothing to make smaller: 1 case passed"):
        subject_of(find_boot(small.layout, run.name), Predicate())


def test_a_boot_without_what_is_looked_for(small: Small) -> None:
    with pytest.raises(UserError, match="has nothing to make smaller"):
        small.minimise(Predicate(red=("p.a",)))


def test_patches_without_a_series(small: Small) -> None:
    subject = subject_of(find_boot(small.layout, small.run.name), Predicate())
    with pytest.raises(UserError, match="no series"):
        with_patches(subject, small.layout, small.told)


KNOBS = (
    KnobSpec("threads", KnobForm.INTEGER, "threads", 1, 16),
    KnobSpec("total", KnobForm.SHARE, "objects", 1, 400),
    KnobSpec("bo", KnobForm.SIZE, "size", 4096, 64 * MIB),
    KnobSpec("caching", KnobForm.CHOICE, "caching", choices=("wb", "wc")),
)
WHOLE = BootToShrink(
    "RUN/001",
    Request(
        kernel=KernelSpec(SourceSpec.parse("debian:7.3")),
        machine=Machine(
            swap=Swap.parse("zram:64M:zstd"), accel=Accel.TCG, cmdline=("slab_nomerge", "a=b"), swappiness=180
        ),
        suites=("pressure",),
        seed=5,
        knobs=tuple(map(Knob, ("threads", "total", "bo", "caching"), ("4", "150%", "1M", "wc"))),
        cases=("a", "b"),
    ),
    Predicate(),
    KNOBS,
)


def test_all_that_can_be_less() -> None:
    problem = problem_of(WHOLE)
    assert [(one.name, one.start, one.least) for one in problem.numbers] == [
        ("ram", 256 * MIB, 32 * MIB),
        ("swap", 64 * MIB, 0),
        ("cpus", 2, 1),
        ("knob threads", 4, 1),
        ("knob total", 150, 1),
        ("knob bo", MIB, 4096),
    ]
    assert [one.name for one in problem.sets] == ["cases", "knobs", "settings"]
    assert smaller(WHOLE, problem.whole) == WHOLE.request


def test_a_size_is_a_request() -> None:
    size = problem_of(WHOLE).whole
    size = size.with_number("swap", 16 * MIB).with_number("knob total", 70).with_number("knob bo", 8192)
    size = (
        size.with_parts("knobs", ("total", "bo")).with_parts("settings", ("cmdline a=b",)).with_parts("cases", ("b",))
    )
    found = smaller(WHOLE, size)
    assert str(found.machine.swap) == "zram:16M:zstd"
    assert (found.machine.cmdline, found.machine.swappiness) == (("a=b",), None)
    assert [(one.name, one.value) for one in found.knobs] == [("total", "70%"), ("bo", "8K")]
    assert str(smaller(WHOLE, size.with_number("swap", 0)).machine.swap) == "none"


def test_the_plan_and_the_command_say_the_same_boot() -> None:
    wanted = replace(WHOLE.request, machine=replace(WHOLE.request.machine, accel=Accel.AUTO, memory_max=64 * MIB))
    plan = parse_plan(plan_text(wanted, "RUN/001"), "smallest.toml")
    assert requests_of(plan, Axes(), Extras()) == (replace(wanted, as_they_fit=True),)
    words = command_of(wanted)
    assert "--knob threads=4,total=150%,bo=1M,caching=wc" in words
    assert "--memory-max 64M --swappiness 180 --append slab_nomerge --append a=b" in words
    assert words.endswith("--seed 5")
