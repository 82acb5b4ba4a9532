# SPDX-License-Identifier: GPL-2.0-only
"""The command as a user types it, on the tiny kernel: exit statuses, forms of the report, sentences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

import harness.reports
from harness.model.build import Build

SCHEMAS = Path(harness.reports.__file__).parent / "schema"
RUN = ("run", "--profile", "tiny", "--suite", "kunit-self", "--accel", "tcg", "--ram", "128M", "--swap", "none")


def ttm_harness(*words: str, status: int) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_run_in_json_and_its_report_in_every_form(tiny: Build) -> None:
    report = json.loads(ttm_harness(*RUN, "--json", "--seed", "11", status=0).stdout)
    jsonschema.validate(report, json.loads((SCHEMAS / "report-1.json").read_text()))
    assert report["verdict"] == "good"
    assert report["runs"][0]["facts"]["seed"] == "11"
    assert sum(case["outcome"] == "PASS" for case in report["cases"]) >= 20
    assert ttm_harness("report", report["id"], "--as", "json", status=0).stdout.startswith("{")
    junit = ElementTree.fromstring(ttm_harness("report", report["id"], "--as", "junit", status=0).stdout)
    assert {suite.get("name") for suite in junit.iter("testsuite")} == {"kunit-self", "boot"}
    assert "verdict: good" in ttm_harness("report", report["id"], status=0).stdout


def test_repeats_have_seeds_of_their_own(tiny: Build) -> None:
    report = json.loads(ttm_harness(*RUN, "--json", "--seed", "3", "--repeat", "2", status=0).stdout)
    assert [run["cell"]["seed"] for run in report["runs"]] == [3, 4]


def test_ram_that_no_kernel_boots_in(tiny: Build) -> None:
    done = ttm_harness(*RUN, "--ram", "16M", status=3)
    assert "never got ready" in done.stdout
    assert "verdict: cannot tell" in done.stdout


def test_a_kernel_without_the_suite(tiny: Build) -> None:
    done = ttm_harness(*RUN, "--suite", "ttm-kunit", status=3)
    assert "CONFIG_DRM_TTM_KUNIT_TEST" in done.stderr


def test_kunit_switched_off(tiny: Build) -> None:
    done = ttm_harness(*RUN, "--append", "kunit.enable=0", status=3)
    assert "kunit is disabled" in done.stdout


def test_kunit_without_autorun(tiny: Build) -> None:
    done = ttm_harness(*RUN, "--append", "kunit.autorun=0", status=3)
    assert "NOT_RUN" in done.stdout


def test_a_misspelt_symbol_is_named(tiny: Build, tmp_path: Path) -> None:
    fragment = tmp_path / "mine.config"
    fragment.write_text("CONFIG_KUNIT=y\nCONFIG_KUNNIT_DEBUGFS=y\n")
    done = ttm_harness(*RUN, "--fragment", str(fragment), status=2)
    assert "KUNNIT_DEBUGFS" in done.stderr
    assert "KUNIT_DEBUGFS" in done.stderr.replace("KUNNIT_DEBUGFS", "")


def test_an_unmet_dependency_is_named(tiny: Build, tmp_path: Path) -> None:
    fragment = tmp_path / "mine.config"
    fragment.write_text("CONFIG_DRM_XE=m\n")
    done = ttm_harness(*RUN, "--fragment", str(fragment), status=2)
    assert "mine.config:1" in done.stderr
    assert "X86_PLATFORM_DEVICES" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--source", "git:/nowhere@HEAD"), "/nowhere"),
        (("--source", "debian:"), "names no version"),
        (("--source", "/nowhere/at/all"), "/nowhere/at/all"),
        (("--ram", "lots"), "is not a size"),
        (("--ram", "3M"), "cannot have 3M"),
        (("--swap", "tape:1G"), "no known kind"),
        (("--suite", "nonsense"), "no suite 'nonsense'"),
        (("--profile", "nonsense"), "nonsense"),
        (("--knob", "x"), "NAME=VALUE"),
        (("--append", 'a="b c"'), "quote"),
        (("--fragment", "/nowhere.config"), "/nowhere.config"),
    ],
)
def test_a_users_mistake_is_a_sentence(words: tuple[str, ...], sentence: str) -> None:
    assert sentence in ttm_harness(*RUN, *words, status=2).stderr


def test_a_run_that_is_not_there() -> None:
    assert "no run" in ttm_harness("report", "nonsense", status=2).stderr


def test_parse_ktap_of_a_saved_log(tmp_path: Path) -> None:
    log = tmp_path / "dmesg"
    log.write_text("[    1.0] x\nKTAP version 1\n1..2\nok 1 a\nnot ok 2 b\n")
    done = ttm_harness("parse", "ktap", str(log), "--json", status=1)
    plain = json.loads(done.stdout)
    jsonschema.validate(plain, json.loads((SCHEMAS / "parse-1.json").read_text()))
    assert [case["outcome"] for case in plain["cases"]] == ["PASS", "FAIL"]
    log.write_text("nothing of the kind\n")
    ttm_harness("parse", "ktap", str(log), status=3)
    ttm_harness("parse", "ktap", str(tmp_path / "absent"), status=2)


def test_doctor_in_json() -> None:
    findings = json.loads(ttm_harness("doctor", "--json", status=0).stdout)["findings"]
    assert {"gcc", "flex", "qemu-system-x86_64", "vng", "KVM", "disk"} <= {one["name"] for one in findings}
