# SPDX-License-Identifier: GPL-2.0-only
"""The project's own patches keep the contracts of their folders."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harness.flow.controls import read_controls
from harness.model.errors import StoreCorrupt, UserError
from harness.suites.pressure import FINDINGS

PATCHES = Path(__file__).parents[2] / "patches"
TTM = PATCHES / "controls" / "ttm"
CLASSES = {"content", "leak", "attributes", "contract", "accounting", "walk", "oom", "state"}
CONTROLS = read_controls(TTM)


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


def test_every_patch_is_described_and_every_description_has_a_patch() -> None:
    assert [control.patch.name for control in CONTROLS] == sorted(path.name for path in TTM.glob("*.patch"))


def test_all_classes_are_there_and_something_is_neutral() -> None:
    counts = {kind: sum(one.kind == kind and not one.neutral for one in CONTROLS) for kind in CLASSES}
    assert {one.kind for one in CONTROLS} == CLASSES
    assert min(counts.values()) >= 3
    assert sum(one.neutral for one in CONTROLS) == 2


@pytest.mark.parametrize(
    "path", [*TTM.glob("*.patch"), *(PATCHES / "findings").glob("*.patch")], ids=lambda p: p.name
)
def test_a_patch_is_short_and_carries_little_context(path: Path) -> None:
    text = path.read_text()
    assert re.match(r"From: ttm-harness \w+ <\w+@ttm-harness\.invalid>\nSubject: \[(CONTROL|PATCH)\] drm/ttm", text)
    assert max(context_runs(text)) <= 4  # two behind one change, two before the next
    changed = [line for line in text.split("---\n", 1)[1].splitlines() if re.match(r"[-+](?![-+]{2} )", line)]
    assert 1 <= len(changed) <= 24


def test_controls_are_chosen_by_globs() -> None:
    assert [one.name for one in read_controls(TTM, ("01-*", "77-*"))] == [
        "01-restore-drops-one-in-a-thousand",
        "77-neutral-restore-local-destination",
    ]
    with pytest.raises(UserError, match="no control matches"):
        read_controls(TTM, ("nonsense",))


@pytest.mark.parametrize("text", ["", "[[control]]\n", "control = 3\n", "[[control", "[[control]]\nclass = 'x'\n"])
def test_a_broken_list_is_said_to_be_corrupt(tmp_path: Path, text: str) -> None:
    (tmp_path / "controls.toml").write_text(text)
    with pytest.raises(StoreCorrupt):
        read_controls(tmp_path)


def test_findings_name_cases_that_are_expected_to_fail_and_patches_that_are_there() -> None:
    findings = tomllib.loads((PATCHES / "findings" / "findings.toml").read_text())["finding"]
    expected = {one.case.removeprefix("pressure.") for one in FINDINGS.expected_failures}
    named = {case for finding in findings for case in finding["cases"] if "7.3.4" in finding["kernels"]}
    assert named == expected
    for finding in findings:
        assert finding["seen"]
        assert finding["known"]
        if "patch" in finding:
            assert (PATCHES / "findings" / finding["patch"]).is_file()
