# SPDX-License-Identifier: GPL-2.0-only
"""The kept results of real runs of the tiny kernel: listed, searched, compared, pruned, and killed in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import harness.reports
from harness.store.journal import Step, read_journal
from tests.conftest import in_store
from tests.functional.test_kill import processes_of
from tests.functional.test_plan import plan as plan

SCHEMA = json.loads((Path(harness.reports.__file__).parent / "schema" / "results-1.json").read_text())
RUN = ("run", "--profile", "tiny", "--suite", "kunit-self", "--accel", "tcg", "--swap", "none", "--json")
SECONDS = 600


@pytest.fixture
def store(plan: Path) -> Path:
    """A store of this test alone, which shares the tiny kernel with the user's."""
    return plan.parent / "store"


def call(store: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = in_store(store)
    argv = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def results(store: Path, *words: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(call(store, "results", *words, "--json").stdout)
    jsonschema.validate(plain, SCHEMA)
    return plain


def names(store: Path, *words: str) -> list[str]:
    return [run["name"] for run in results(store, "list", *words)["runs"]]


def test_runs_are_listed_searched_compared_and_pruned(store: Path) -> None:
    assert "no run fits" in call(store, "results", "list").stdout
    good = json.loads(call(store, *RUN, "--ram", "128M", "--seed", "11").stdout)
    mute = json.loads(call(store, *RUN, "--ram", "96M", "--append", "kunit.enable=0", status=3).stdout)
    assert names(store) == [mute["id"], good["id"]]
    listing = results(store, "list")
    assert [run["verdict"] for run in listing["runs"]] == ["cannot tell", "good"]
    executed = sum(case["outcome"] not in ("SKIP", "NOT_RUN", "INCOMPLETE") for case in good["cases"])
    assert listing["runs"][1]["executed"] == executed >= 20
    table = call(store, "results", "list").stdout
    assert good["id"] in table
    assert "kunit-self" in table

    version = good["provenance"]["tree_version"]
    assert names(store, "--kernel", version, "--machine", "128M") == [good["id"]]
    assert names(store, "--verdict", "cannot-tell") == [mute["id"]]
    assert names(store, "--kernel", "2.6") == []
    assert names(store, "--since", "1h") == [mute["id"], good["id"]]
    assert names(store, "--since", "2999-01-01") == []
    case = next(case for case in good["cases"] if case["outcome"] == "PASS")
    # It was to run in both: the suite's manifest knows it by name.
    assert names(store, "--case", case["name"]) == [mute["id"], good["id"]]
    assert names(store, "--case", case["name"], "--outcome", "PASS") == [good["id"]]
    assert names(store, "--outcome", "NOT_RUN") == [mute["id"]]

    missing, past = results(store, "show", case["name"])["cases"]
    assert (missing["run"], missing["outcomes"]) == (mute["id"], [{"outcome": "NOT_RUN", "times": 1}])
    assert (past["run"], past["outcomes"]) == (good["id"], [{"outcome": "PASS", "times": 1}])
    assert "PASS" in call(store, "results", "show", case["name"]).stdout
    detail = results(store, "show", mute["id"], "--against", good["id"])
    assert detail["boots"][0]["machine"].startswith("96M RAM")
    text = call(store, "results", "show", good["id"], "--against", mute["id"]).stdout
    assert f"against {mute['id']}" in text
    assert "there is no run 'nope'" in call(store, "results", "show", "nope", status=2).stderr

    report = store / "runs" / mute["id"] / "report.json"
    report.write_text(report.read_text()[:-40])
    damaged = call(store, "results", "list")
    assert mute["id"] not in damaged.stdout
    assert f"skipped {mute['id']}: {report} is not the JSON of a Report" in damaged.stderr

    dry = results(store, "prune", "--keep", "1")
    assert [one["name"] for one in dry["removals"]] == [good["id"]]
    assert not dry["done"]
    assert "--yes does it" in call(store, "results", "prune", "--keep", "1").stdout
    gone = results(store, "prune", "--keep", "1", "--yes")
    assert (gone["done"], gone["bytes"]) == (True, dry["bytes"])
    assert not (store / "runs" / good["id"]).exists()
    assert names(store) == []
    built = results(store, "prune", "--unused", "1d")
    assert built["removals"] == []


def test_a_run_in_the_making_and_what_a_killed_one_leaves(plan: Path, store: Path) -> None:
    environment = in_store(store)
    argv = [sys.executable, "-m", "harness", "run", str(plan), "--parallel", "1", "--fresh", "--json"]
    command = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        directory = wait_for_boots(store, 2)
        (run,) = results(store, "list")["runs"]
        assert (run["name"], run["state"]) == (directory.name, "running")
        assert results(store, "prune", "--keep", "0", "--yes")["kept"][0]["name"] == directory.name
        assert directory.is_dir()
    finally:
        command.kill()
        command.wait(30)
    limit = time.monotonic() + 60
    while processes_of(directory) and time.monotonic() < limit:
        time.sleep(0.2)
    (run,) = results(store, "list", "--verdict", "unfinished")["runs"]
    finished = sum(entry.step is Step.FINISHED for entry in read_journal(directory))
    assert (run["state"], run["boots"]) == ("unfinished", finished)
    assert run["executed"] >= 20 * finished > 0
    call(store, "run", "--resume", "--json")
    (run,) = results(store, "list", "--verdict", "good")["runs"]
    assert (run["state"], run["boots"]) == ("finished", 4)


def wait_for_boots(store: Path, count: int) -> Path:
    """The run directory, when so many of its boots are finished."""
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit:
        for directory in (store / "runs").glob("2*"):
            if sum(entry.step is Step.FINISHED for entry in read_journal(directory)) >= count:
                return directory
        time.sleep(0.2)
    raise AssertionError("the boots did not come")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "--since", "yesterday"), "is not an age"),
        (("list", "--case", "[z-a]"), "is not a glob"),
        (("list", "--db", "mysql://x/y"), "cannot be in a database"),
        (("prune",), "nothing says what is to go"),
        (("prune", "--unused", "2h"), "may be in use"),
        (("prune", "--max-size", "much"), "is not a size"),
        (("show", "nope", "--against", "latest"), "no run 'nope'"),
    ],
)
def test_a_users_mistake_is_a_sentence(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in call(tmp_path, "results", *words, status=2).stderr
