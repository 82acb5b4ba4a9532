# SPDX-License-Identifier: GPL-2.0-only
"""Which boot of a kept run is meant, and what becomes of one whose kernel or modules are gone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.flow import recreate
from harness.flow.boots import STANDS_ON_FILE, StandsOn
from harness.flow.collect import CellResult
from harness.flow.kept_boot import find_boot
from harness.flow.recreate import recreated_guest
from harness.flow.run_record import Planned, Record, save_record, save_result
from harness.judge.expectations import verdict_of
from harness.model.cell import Cell
from harness.model.codec import to_json
from harness.model.compare import Leg
from harness.model.errors import InfraError, UserError
from harness.model.outcome import Outcome
from harness.store.layout import Layout
from harness.store.runs import CELL_FILE
from harness.store.sealed import seal
from tests.unit.results_support import Quiet, boot, cases, provenance
from tests.unit.stand_in.cells import kernel_in, request, root_in

RUN = "20261120T120000-aaaaaa"


def keep_boot(place: Path, cell: Cell, outcomes: dict[str, Outcome] | None = None) -> None:
    """A folder of a boot, with its result where it has some."""
    place.mkdir(parents=True)
    (place / CELL_FILE).write_text(to_json(cell))
    if outcomes is not None:
        run = replace(boot(provenance()), id=place.name, directory=place.name, cell=cell)
        found = cases(run, outcomes)
        run = replace(run, verdict=verdict_of((), found)[0])
        save_result(place, CellResult(run, found, ()))


@pytest.fixture(name="layout")
def fixture_layout(tmp_path: Path) -> Layout:
    """A run of three boots, of which the second has a red case and one more boot."""
    layout = Layout(tmp_path / "store")
    kernel = kernel_in(tmp_path)
    directory = layout.runs / RUN
    directory.mkdir()
    cells = [replace(boot(provenance(), number).cell, build_id=kernel.build.id) for number in (1, 2, 3)]
    planned = [Planned(number, Leg.TIP, "", cell, "k", "s", 0, 0) for number, cell in enumerate(cells, 1)]
    save_record(directory, Record("", (request(suites=("pressure",)),), (provenance(),), tuple(planned)))
    for one in planned:
        red = Outcome.FAIL if one.number == 2 else Outcome.PASS
        keep_boot(directory / one.place, one.cell, {"a": Outcome.PASS, "b": red})
    keep_boot(directory / planned[1].place / "alone-1", replace(cells[1], cases=("b",)))
    return layout


def folder(layout: Layout, number: int) -> Path:
    return next((layout.runs / RUN).glob(f"{number:03d}-*"))


@pytest.mark.parametrize(
    "word", ["{run}/2", "aaaaaa/002", "{run}/{folder}", "{path}/2", "{path}/{folder}", "{run}", "{run}/"]
)
def test_a_boot_by_its_names(layout: Layout, word: str) -> None:
    name = word.format(run=RUN, folder=folder(layout, 2).name, path=layout.runs / RUN)
    found = find_boot(layout, name)
    assert found.place == folder(layout, 2)
    assert found.planned is not None
    assert found.planned.number == 2
    assert found.failed() == ("b",)
    assert found.kernel == request().kernel


def test_a_boot_that_went_on_with_another(layout: Layout) -> None:
    found = find_boot(layout, f"{RUN}/2/alone-1")
    assert (found.cell.cases, found.failed()) == (("b",), ())
    assert found.planned is not None
    assert found.planned.number == 2


@pytest.mark.parametrize("word", [f"{RUN}/4", f"{RUN}/2/rest-1", f"{RUN}/alone-1"])
def test_a_boot_that_is_not_there(layout: Layout, word: str) -> None:
    with pytest.raises(UserError, match="there is no boot") as caught:
        find_boot(layout, word)
    assert f"{RUN}/{folder(layout, 1).name}: pressure" in (caught.value.hint or "")


def test_a_run_that_is_not_there(layout: Layout) -> None:
    for word in ("nosuch", "nosuch/1", "no/such/run"):
        with pytest.raises(UserError, match="there is no run"):
            find_boot(layout, word)


def test_where_several_would_do_all_are_listed(layout: Layout) -> None:
    shutil.rmtree(folder(layout, 2))
    with pytest.raises(UserError, match="2 boots fit") as caught:
        find_boot(layout, RUN)
    assert f"{RUN}/{folder(layout, 3).name}: pressure" in (caught.value.hint or "")


def test_a_kernel_that_is_gone_and_that_nobody_can_make(layout: Layout, tmp_path: Path) -> None:
    """Of a live guest there is no record."""
    directory = layout.runs / "20261120T120001-bbbbbb"
    keep_boot(directory / "live", boot(provenance()).cell)
    found = find_boot(layout, "bbbbbb")
    with pytest.raises(UserError, match="is not in the store any more"), recreated_guest(found, layout, Quiet()):
        pass


def test_a_source_that_is_another_one_now_is_no_replacement(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recreate, "prepare", lambda *_: kernel_in(tmp_path, "c" * 64))
    found = find_boot(layout, f"{RUN}/1")
    with pytest.raises(UserError, match="cannot be had again: debian now gives the build cccccccccccc"):
        with recreated_guest(found, layout, Quiet()):
            pass


def test_modules_of_a_control_that_are_damaged_have_no_replacement(layout: Layout, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "ttm.ko").write_text("with a bug in it")
    seal(broken)
    directory = layout.runs / "20261120T120002-cccccc"
    kernel = kernel_in(tmp_path)
    keep_boot(directory / "001-control", replace(boot(provenance()).cell, suites=("xe-fake",)))
    ground = StandsOn(kernel.build.path, root_in(tmp_path), kernel.build.modules, broken)
    (directory / "001-control" / STANDS_ON_FILE).write_text(to_json(ground))
    found = find_boot(layout, "cccccc")
    assert found.stands_on == ground
    assert recreate._kept_extra(found) == broken
    (broken / "ttm.ko").write_text("without it")
    with pytest.raises(InfraError, match="cannot be had any more"):
        recreate._kept_extra(found)
