# SPDX-License-Identifier: GPL-2.0-only
"""What a fleet does beside the boots of a run: controls and gates; a run that goes on from another store; devices."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.fleet.clusters import fleet, local_workers
from harness.fleet.fleet import Fleet
from harness.fleet.order import own_facts
from harness.flow.boots import BootEnvironment
from harness.flow.controls import Control, Detection, try_controls
from harness.flow.gate import Depth, GateJob, gate_series
from harness.flow.resources import guest_devices
from harness.flow.run import resume
from harness.kernel.fragments import compose, parse_fragment
from harness.model.gate import Gate
from harness.model.outcome import Verdict
from harness.store import source_seal
from harness.store.journal import Step, read_journal
from harness.store.layout import Layout
from harness.store.sealed import seal
from tests.unit.gate_support import install_make
from tests.unit.results_support import Quiet
from tests.unit.series_support import Repo, read, tree_of
from tests.unit.stand_in import say
from tests.unit.stand_in.cells import (
    BOOTS,
    MACHINE,
    SUITE,
    Told,
    begins,
    case,
    ends,
    good,
    kernel_in,
    powers_off,
    request,
    root_in,
)
from tests.unit.stand_in.runs import Ground
from tests.unit.test_fleet import see_nothing

pytestmark = pytest.mark.timeout(300)

RED = (
    *(*BOOTS, *begins(), *case("a", 1), *case("b", 2, "not ok"), *case("c", 3), *case("d", 4)),
    *(*ends(), *powers_off()),
)


@pytest.fixture
def ground(tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, scratch_layout, monkeypatch)


def control(name: str, *, neutral: bool = False) -> Control:
    return Control(name, Path(f"{name}.patch"), "class", (), "", (), neutral, "")


def test_controls_side_by_side(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def modules(wanted: Control, *_: object) -> Path:
        place = tmp_path / wanted.name
        (place / "modules" / "lib" / "modules").mkdir(parents=True)
        (place / "modules" / "name").write_text(wanted.name)
        seal(place)
        return place

    monkeypatch.setattr("harness.flow.controls.broken_modules", modules)
    monkeypatch.setattr("harness.flow.controls.control_set", lambda _: None)
    (tmp_path / "run").mkdir()
    environment = BootEnvironment(kernel_in(tmp_path), root_in(tmp_path), tmp_path / "run", ground.told)
    ground.plays(good(), RED, RED, RED)
    told: list[str] = []
    with fleet("local:2", ground.layout, ground.told) as hosts:
        tried = try_controls(
            [control("one"), control("two"), control("three", neutral=True)],
            SUITE,
            MACHINE,
            environment,
            ground.layout,
            1,
            lambda one: told.append(one.control.name),
            hosts=hosts,
        )
        assert [one.noticed for one in tried] == [Detection.CAUGHT, Detection.CAUGHT, Detection.FALSE_RED]
        assert [one.cases for one in tried] == [("p.b",)] * 3
        assert sorted(told) == ["one", "three", "two"]
        for number, one in enumerate(tried, 1):
            assert one.directory.startswith(f"{number:03d}-")
            assert str(tmp_path / one.control.name) in (tmp_path / "run" / one.directory / "reproduce.sh").read_text()
        ground.plays((*BOOTS, say("BUG: it is broken itself"), *begins(), *ends(), *powers_off()))
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "run").mkdir()
        (unknown,) = try_controls(
            [control("one")], SUITE, MACHINE, environment, ground.layout, 1, lambda _: None, hosts=hosts
        )
        assert unknown.noticed is Detection.CANNOT_TELL


def test_a_gate_by_a_worker_with_another_store(
    tmp_path: Path, scratch_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = Repo(tmp_path / "k")
    repo.write("Kconfig", "config ACPI\n\tbool\n")
    repo.write("include/linux/mm.h", "mm\n")
    repo.commit("more")
    repo.git("tag", "-f", "base")
    base = scratch_layout.sources / "tiny-aaaa" / "linux"
    base.mkdir(parents=True)
    repo.git("--work-tree", str(base), "checkout", "-q", "-f", "base", "--", ".")
    repo.git("reset", "-q", "--hard")
    for name, text in (("drivers/a.c", "other"), ("Kconfig", "nonsense")):
        repo.write(name, f"{text}\n")
        repo.commit(f"change {name}")
    install_make(tmp_path, monkeypatch)
    source_seal.seal(base, base.parent)
    (tmp_path / "there").mkdir()
    there, told = Layout(tmp_path / "there"), Told()
    profile = compose("p", [parse_fragment("frag", "CONFIG_ACPI=y\n")])
    job = GateJob(tree_of(base), read(repo.mbox("base..HEAD")), profile, Depth.TOUCHED, None)
    with local_workers(1, there.root) as client:
        client.run(see_nothing, str(base))
        hosts = Fleet(client, scratch_layout, told)
        found = hosts.gate(job, told)
        elsewhere = replace(job, base=replace(job.base, path=tmp_path / "k"))
        assert hosts.gate(elsewhere, told) is None  # a directory of the user's own stays here
        hosts.close()
    assert found is not None
    assert (found.verdict, len(found.patches)) == (Verdict.BAD, 2)
    assert not list(scratch_layout.objects.iterdir()) and list(there.objects.iterdir())
    assert without_times(found) == without_times(gate_series(job, scratch_layout, Quiet()))


def without_times(gate: Gate) -> Gate:
    return replace(
        gate,
        patches=tuple(
            replace(one, checks=tuple(replace(check, seconds=0.0) for check in one.checks)) for one in gate.patches
        ),
    )


def test_a_run_goes_on_in_another_store_to_which_it_was_copied(ground: Ground, tmp_path: Path) -> None:
    """As from another machine: what had ended is believed there by its seals."""
    ground.plays(good(), good())
    ground.told.when("boot 3: 256M RAM, swap none, 2 vCPUs, tcg: p", interrupts)
    with pytest.raises(KeyboardInterrupt):
        ground.execute(request(repeat=4))
    name = ground.newest.name
    (tmp_path / "other").mkdir()
    other = Layout(tmp_path / "other")
    shutil.copytree(ground.newest, other.runs / name)
    shutil.rmtree(ground.layout.runs)
    ground.plays(good(), good())
    report, directory = resume(other, "", ground.told, parallel=1)
    assert (directory, report.verdict, len(report.runs)) == (other.runs / name, Verdict.GOOD, 4)
    finished = [one.number for one in read_journal(directory) if one.step is Step.FINISHED]
    assert finished == [1, 2, 3, 4]
    assert ground.stand_in.left == 0


def interrupts() -> None:
    raise KeyboardInterrupt


def test_the_devices_that_guests_may_have(tmp_path: Path, scratch_layout: Layout) -> None:
    for name, vendor, device in (("0000:03:00.0", "0x8086\n", "0x56a0\n"), ("0000:04:00.0", "0x8086\n", "0x56a0\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor)
        (tmp_path / name / "device").write_text(device)
    (tmp_path / "0000:05:00.0").mkdir()  # it has just gone
    (tmp_path / "bind").touch()
    assert guest_devices(tmp_path) == ("8086:56a0", "8086:56a0")
    assert guest_devices(tmp_path / "none") == ()


def test_workers_that_differ_in_what_checks_patches_build_alike_but_do_not_gate(scratch_layout: Layout) -> None:
    mine = own_facts(scratch_layout)
    other = replace(mine, checkers="clang 1")
    assert (other.mark, other.compiler_mark) == (mine.mark, mine.compiler_mark)
    assert other.gate_mark != mine.gate_mark
    assert replace(mine, compiler="gcc 1").gate_mark != mine.gate_mark
