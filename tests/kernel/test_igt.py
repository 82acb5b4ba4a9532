# SPDX-License-Identifier: GPL-2.0-only
"""Tests as of a user's own IGT, through the real igt_runner in a guest: every result that there is, and a kernel that
dies in the middle, after which igt_resume goes on in a fresh boot.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import harness
from harness.guest.root import compile_static
from harness.inputs.apt import apt_is_own
from harness.proc import Deadline, find_tool
from tests.kernel.test_run import ttm_harness

WORDS = {
    "pass": ("PASS", "pass"),
    "skip": ("SKIP", "skip"),
    "fail": ("FAIL", "fail"),
    "warn": ("WARN", "warn"),
    "dynamic": ("PASS", "pass"),
    "dynamic@one": ("PASS", "pass"),
    "dynamic@two": ("PASS", "pass"),
    "panic": ("CRASH", "incomplete"),
    "dynamic-mixed": ("FAIL", "fail"),
    "dynamic-mixed@good": ("PASS", "pass"),
    "dynamic-mixed@none": ("SKIP", "skip"),
    "dynamic-mixed@bad": ("FAIL", "fail"),
    "dmesg-warn": ("WARN", "dmesg-warn"),
    "dmesg-fail": ("FAIL", "dmesg-fail"),
    "crash": ("CRASH", "crash"),
    "hang": ("TIMEOUT", "timeout"),
    "abort": ("FAIL", "abort"),
    "never": ("NOT_RUN", "notrun"),
}


def programs(place: Path) -> Path:
    """An IGT whose tests are the project's own programs."""
    place.mkdir()
    sources = sorted((Path(harness.__file__).parent / "subjects" / "igt" / "tools").glob("*.c"))
    for source in sources:
        compile_static(source, place / source.stem, Deadline(120))
    (place / "test-list.txt").write_text(f"TESTLIST\n{' '.join(one.stem for one in sources)}\nEND TESTLIST\n")
    return place


def require_root() -> None:
    if not apt_is_own() or find_tool("mmdebstrap") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a root of Debian needs apt and mmdebstrap")


def test_every_result_and_a_panic_in_the_middle(tmp_path: Path) -> None:
    require_root()
    report = ttm_harness(
        *("run", "--suite", "igt", "--igt", str(programs(tmp_path / "igt")), "--case", "igt_words@*,!*@silent"),
        *("--knob", "timeout=6", "--swap", "none"),
        status=1,
    )
    (run,) = report["runs"]
    found = {case["name"]: case for case in report["cases"] if case["suite"] == "igt"}
    told = {name.removeprefix("igt.igt_words@"): (one["outcome"], one["raw"]) for name, one in found.items()}
    assert told.pop("igt.runner@aborted") == ("FAIL", "fail")
    assert told == WORDS
    assert (run["ending"], [more["directory"] for more in run["more"]]) == ("PANICKED", ["rest-1"])
    assert {one["boot"] for name, one in found.items() if "mixed" in name} == {"rest-1"}
    assert "sysrq triggered crash" in found["igt.igt_words@panic"]["message"]
    assert found["igt.igt_words@skip"]["message"] == "a device that nobody has"
    assert run["cell"]["igt"] and any("IGT-Version: " in note for note in run["notes"])


def test_objects_under_pressure_driven_by_a_program_of_igts_kind() -> None:
    """What the kernel printed beside a failure that nobody told it to be silent about is no pass."""
    require_root()
    chosen = ("beside", "content_wb", "backup_split")
    report = ttm_harness(
        *("run", "--suite", "igt-pressure", "--case", ",".join(f"igt_pressure@{name}" for name in chosen)),
        status=1,
    )
    found = {case["name"]: case["outcome"] for case in report["cases"] if case["suite"] == "igt-pressure"}
    told = {name.removeprefix("igt-pressure.igt_pressure@"): outcome for name, outcome in found.items()}
    good = ("beside", "beside@hold", "beside@press", "beside@release", "content_wb")
    assert told == {**dict.fromkeys(good, "PASS"), "backup_split": "WARN"}
