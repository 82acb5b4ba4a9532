# SPDX-License-Identifier: GPL-2.0-only
"""Plans on the tiny kernel: side by side, interrupted in every way, gone on with, and kept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import harness.reports
from harness.model.build import Build
from harness.store.journal import Entry, Step, read_journal
from harness.store.layout import Layout
from tests.conftest import in_store
from tests.functional.test_kill import processes_of

SCHEMA = Path(harness.reports.__file__).parent / "schema" / "report-1.json"
PLAN = """
title = "four small machines"
profile = "tiny"
suites = ["kunit-self"]
{more}
[machine]
ram = ["96M", "128M"]
swap = ["none", "disk:64M"]
accel = "tcg"
"""
SECONDS = 600


@pytest.fixture
def plan(tiny: Build, layout: Layout, tmp_path: Path) -> Path:
    """A plan of four cells, and a store of its own that shares source and build with the user's."""
    store = tmp_path / "store"
    for name in ("sources", "builds", "objects"):
        (store / name).mkdir(parents=True)
    source = next(path for path in layout.sources.iterdir() if tiny.tree.path.is_relative_to(path))
    for name, path in (("sources", source), ("builds", tiny.path), ("objects", tiny.objects.parent)):
        (store / name / path.name).symlink_to(path)
    subprocess.run(["cp", "-a", str(layout.downloads), str(store / "downloads")], check=False)
    path = tmp_path / "four.toml"
    path.write_text(PLAN.format(more=""))
    return path


def start(plan: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", *words],
        env=in_store(plan.parent / "store"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job (CI's, perhaps) ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ended(command: subprocess.Popen[str], status: int) -> str:
    out, err = command.communicate(timeout=SECONDS)
    assert command.returncode == status, out + err
    assert "Traceback" not in err
    return out if status == 0 else out + err


def report_of(command: subprocess.Popen[str]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(ended(command, 0))
    jsonschema.validate(plain, json.loads(SCHEMA.read_text()))
    return plain


def runs_of(plan: Path) -> list[Path]:
    return sorted(path for path in (plan.parent / "store" / "runs").glob("*") if path.is_dir())


def entries(plan: Path, step: Step) -> list[Entry]:
    return [entry for run in runs_of(plan) for entry in read_journal(run) if entry.step is step]


def wait_for(plan: Path, step: Step, count: int) -> None:
    limit = time.monotonic() + SECONDS
    while len(entries(plan, step)) < count:
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_side_by_side_and_the_second_time_from_what_is_kept(plan: Path) -> None:
    report = report_of(start(plan, str(plan), "--parallel", "2", "--json"))
    assert report["verdict"] == "good"
    assert len(report["runs"]) == len(report["machines"]) == 4
    assert {row["machine"] for row in report["machines"]} == {run["group"] for run in report["runs"]}
    steps = [entry.step for run in runs_of(plan) for entry in read_journal(run)]
    assert steps[:2] == [Step.BEGUN, Step.BEGUN], "two guests at once"

    listed = json.loads(ended(start(plan, str(plan), "--list", "--json"), 0))
    assert [boot["kept"] for boot in listed["boots"]] == [runs_of(plan)[0].name] * 4
    assert [boot["cell"] for boot in listed["boots"]] == [entry.cell for entry in sorted_by_number(plan)]

    again = report_of(start(plan, str(plan), "--json"))
    assert {run["kept_from"] for run in again["runs"]} == {runs_of(plan)[0].name}
    assert len(entries(plan, Step.BEGUN)) == 4
    assert [case["outcome"] for case in again["cases"]] == [case["outcome"] for case in report["cases"]]
    assert all((runs_of(plan)[1] / run["directory"] / "console.log").stat().st_size for run in again["runs"])

    fresh = report_of(start(plan, str(plan), "--fresh", "--ram", "96M", "--json"))
    assert {run["kept_from"] for run in fresh["runs"]} == {""}
    assert len(entries(plan, Step.BEGUN)) == 6


def sorted_by_number(plan: Path) -> list[Entry]:
    return sorted(entries(plan, Step.FINISHED), key=lambda entry: entry.number)


def test_killed_in_the_middle_it_goes_on_without_what_is_finished(plan: Path) -> None:
    command = start(plan, str(plan), "--parallel", "1")
    wait_for(plan, Step.FINISHED, 1)
    wait_for(plan, Step.BEGUN, 2)
    command.send_signal(signal.SIGKILL)
    command.communicate(timeout=30)
    limit = time.monotonic() + 15
    while processes_of(plan.parent / "store") and time.monotonic() < limit:
        time.sleep(0.1)
    assert processes_of(plan.parent / "store") == []

    kept = subprocess.run(
        [sys.executable, "-m", "harness", "report", runs_of(plan)[0].name],
        env=in_store(plan.parent / "store"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert kept.returncode == 3
    assert "interrupted: 3 boots were not made" in kept.stdout

    report = report_of(start(plan, "--resume", "--json"))
    assert report["verdict"] == "good"
    assert len(report["runs"]) == 4
    begun = [entry.number for entry in entries(plan, Step.BEGUN)]
    assert sorted(begun) == [1, 2, 2, 3, 4]
    assert len(runs_of(plan)) == 1
    assert "no run in the store is unfinished" in ended(start(plan, "--resume"), 2)


def test_interrupted_it_ends_its_guests_and_goes_on(plan: Path) -> None:
    command = start(plan, str(plan), "--parallel", "2")
    wait_for(plan, Step.BEGUN, 2)
    time.sleep(1.0)
    command.send_signal(signal.SIGINT)
    said = ended(command, 130)
    assert "--resume" in said
    assert processes_of(plan.parent / "store") == []
    name = runs_of(plan)[0].name
    report = report_of(start(plan, f"--resume={name}", "--json"))
    assert (report["verdict"], len(report["runs"])) == ("good", 4)


def test_a_plain_run_is_never_kept_and_goes_on_with_the_seed_that_was_drawn(plan: Path) -> None:
    words = ("--profile", "tiny", "--suite", "kunit-self", "--accel", "tcg", "--ram", "96M", "--repeat", "2")
    command = start(plan, *words, "--parallel", "1")
    wait_for(plan, Step.FINISHED, 1)
    command.send_signal(signal.SIGINT)
    ended(command, 130)
    report = report_of(start(plan, "--resume", "--json"))
    seeds = [run["cell"]["seed"] for run in report["runs"]]
    assert seeds[1] == (seeds[0] + 1) % 2**32
    again = report_of(start(plan, *words[:-2], "--json"))
    assert again["runs"][0]["kept_from"] == ""


def test_a_run_that_changed_under_its_feet_is_not_gone_on_with(plan: Path) -> None:
    command = start(plan, str(plan), "--parallel", "1")
    wait_for(plan, Step.BEGUN, 1)
    command.send_signal(signal.SIGKILL)
    command.communicate(timeout=30)
    record = runs_of(plan)[0] / "run.json"
    record.write_text(record.read_text().replace('"key": "', '"key": "0'))
    assert "has changed since it began" in ended(start(plan, "--resume"), 2)


def test_thousands_of_boots_are_asked_about(plan: Path) -> None:
    plan.write_text(PLAN.format(more="repeat = 1000"))
    said = ended(
        subprocess.Popen(
            [sys.executable, "-m", "harness", "run", str(plan)],
            env=in_store(plan.parent / "store"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ),
        2,
    )
    assert "4000 boots" in said
    assert "--yes" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere.toml",), "there is no plan 'nowhere.toml'"),
        (("--resume=nowhere",), "there is no run"),
        (("--resume", "--ram", "1G"), "takes no plan and no other choice"),
        (("--ram", "900T"), "cannot carry a guest"),
    ],
)
def test_mistakes_are_sentences(plan: Path, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in ended(start(plan, *words), 2)
