# SPDX-License-Identifier: GPL-2.0-only
"""The project's own patches keep the contracts of their folders."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harness.flow.controls import control_set, is_for_overlay, read_controls, with_controls
from harness.model.errors import UserError
from harness.suites.registry import suite_named

PATCHES = Path(__file__).parents[2] / "patches"
TTM = control_set(suite_named("pressure")).folder
XE = control_set(suite_named("xe-fake")).folder
SHMEM = control_set(suite_named("drm-shmem")).folder
QXL = control_set(suite_named("qxl")).folder
CLASSES = {"content", "leak", "attributes", "contract", "accounting", "walk", "oom", "state"}
CONTROLS = read_controls(TTM)
XE_CONTROLS = read_controls(XE)
SHMEM_CONTROLS = read_controls(SHMEM)
QXL_CONTROLS = read_controls(QXL)


def context_runs(text: str) -> list[int]:
    """Lengths of the runs of context lines in a diff."""
    runs, length = [], 0
    for line in text.split("---\n", 1)[1].splitlines():
        if line.startswith(" "):
            length += 1
        else:
            runs.append(length)
            length = 0
    return [*runs, length]


@pytest.mark.parametrize("folder", [TTM, XE, SHMEM, QXL], ids=lambda path: path.parent.name)
def test_every_patch_is_described_and_every_description_has_a_patch(folder: Path) -> None:
    described = [control.patch.name for control in read_controls(folder)]
    assert described == sorted(
        (path.name for path in folder.glob("*.patch")), key=lambda name: int(name.split("-")[0])
    )


def test_each_suite_with_controls_has_a_folder_of_them() -> None:
    for name in with_controls():
        found = control_set(suite_named(name))
        assert found.folder.is_dir()
        assert bool(found.driver) == bool(found.module)
        assert found.module or suite_named(name).needs_overlay is not None
    with pytest.raises(UserError, match="no controls for the suite kunit-self"):
        control_set(suite_named("kunit-self"))


def test_the_controls_of_xe_break_known_invariants_in_its_shrinker() -> None:
    assert {one.kind for one in XE_CONTROLS} <= CLASSES
    assert sum(not one.neutral for one in XE_CONTROLS) >= 30
    assert sum(one.neutral for one in XE_CONTROLS) >= 2
    for one in XE_CONTROLS:
        assert set(one.breaks) <= {f"I{number}" for number in range(1, 21)}
        assert bool(one.breaks) != one.neutral
        changed = re.findall(r"^\+\+\+ b/(\S+)$", one.patch.read_text(), re.MULTILINE)
        assert set(changed) <= {f"drivers/gpu/drm/xe/{name}.c" for name in ("xe_bo", "xe_bo_evict", "xe_shrinker")}


def test_the_controls_of_drm_shmem_break_known_invariants_in_its_helper() -> None:
    assert {one.kind for one in SHMEM_CONTROLS} <= CLASSES
    assert sum(not one.neutral for one in SHMEM_CONTROLS) >= 10
    assert sum(one.neutral for one in SHMEM_CONTROLS) >= 2
    for one in SHMEM_CONTROLS:
        assert set(one.breaks) <= {f"S{number}" for number in range(1, 16)}
        assert bool(one.breaks) != one.neutral
        changed = re.findall(r"^\+\+\+ b/(\S+)$", one.patch.read_text(), re.MULTILINE)
        assert changed == ["drivers/gpu/drm/drm_gem_shmem_helper.c"]


def test_the_controls_of_qxl_break_known_invariants_in_ttm_or_the_driver() -> None:
    overlay = suite_named("qxl").needs_overlay
    assert overlay is not None
    assert {one.kind for one in QXL_CONTROLS} <= CLASSES
    assert sum(not one.neutral for one in QXL_CONTROLS) >= 5
    assert sum(one.neutral for one in QXL_CONTROLS) >= 1
    for one in QXL_CONTROLS:
        assert set(one.breaks) <= {f"I{number}" for number in range(1, 21)}
        assert bool(one.breaks) != one.neutral
        (changed,) = re.findall(r"^\+\+\+ b/(\S+)$", one.patch.read_text(), re.MULTILINE)
        driver = changed.startswith("drivers/gpu/drm/qxl/")
        assert driver or changed.startswith("drivers/gpu/drm/ttm/")
        assert is_for_overlay(one, overlay) is driver


def test_all_classes_are_there_and_something_is_neutral() -> None:
    counts = {kind: sum(one.kind == kind and not one.neutral for one in CONTROLS) for kind in CLASSES}
    assert {one.kind for one in CONTROLS} == CLASSES
    assert min(counts.values()) >= 3
    assert sum(one.neutral for one in CONTROLS) >= 2


@pytest.mark.parametrize(
    "path",
    [
        *(path for folder in (TTM, XE, SHMEM, QXL, PATCHES / "findings") for path in folder.glob("*.patch")),
        *(PATCHES / "history").glob("[0-9]*.patch"),
    ],
    ids=lambda p: f"{p.parent.name}/{p.name}",
)
def test_a_patch_is_short_and_carries_little_context(path: Path) -> None:
    text = path.read_text()
    head = r"From: ttm-harness \w+ <\w+@ttm-harness\.invalid>\nSubject: \[(CONTROL|PATCH|HISTORY)\] "
    assert re.match(f"{head}drm/(ttm|xe|shmem-helper|qxl)", text)
    assert max(context_runs(text)) <= 4  # two behind one change, two before the next
    changed = [line for line in text.split("---\n", 1)[1].splitlines() if re.match(r"[-+](?![-+]{2} )", line)]
    assert 1 <= len(changed) <= 24


def test_every_control_names_the_functions_it_was_made_for() -> None:
    for one in (*CONTROLS, *XE_CONTROLS, *SHMEM_CONTROLS, *QXL_CONTROLS):
        assert one.functions, one.name
        assert all(re.fullmatch(r"\w+", name) for name in one.functions), one.name


def test_controls_are_chosen_by_globs() -> None:
    assert [one.name for one in read_controls(TTM, ("01-*", "77-*"))] == [
        "01-restore-drops-one-in-a-thousand",
        "77-neutral-restore-local-destination",
    ]
    with pytest.raises(UserError, match="no control matches") as refusal:
        read_controls(TTM, ("nonsense",))
    assert str(refusal.value.hint).endswith(f"the {len(CONTROLS)} of them are in {TTM}")


@pytest.mark.parametrize("text", ["", "[[control]]\n", "control = 3\n", "[[control", "[[control]]\nclass = 'x'\n"])
def test_a_broken_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "controls.toml").write_text(text)
    with pytest.raises(UserError, match=r"controls\.toml"):
        read_controls(tmp_path)


def test_findings_name_cases_that_are_expected_to_fail_and_patches_that_are_there() -> None:
    findings = tomllib.loads((PATCHES / "findings" / "findings.toml").read_text())["finding"]
    for suite in map(suite_named, ("pressure-findings", "xe-fake-findings", "xe-fake")):
        expected = {one.case.split(".")[1].rstrip("*") for one in suite.expected_failures}
        own = [one for one in findings if one.get("suite", "pressure-findings") == suite.name]
        assert {case for one in own for case in one["cases"] if "7.3.4" in one["kernels"]} == expected
    for finding in findings:
        assert finding["seen"]
        assert finding["known"]
        if "patch" in finding:
            assert (PATCHES / "findings" / finding["patch"]).is_file()
