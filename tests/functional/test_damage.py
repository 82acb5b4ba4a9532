# SPDX-License-Identifier: GPL-2.0-only
"""What was changed in the store under the harness's feet is named, set aside and made again; nothing rests on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.model.build import Build
from harness.store.journal import Step, read_journal
from harness.store.layout import Layout
from tests.functional.test_plan import PLAN, start

SECONDS = 900
SUITE, MODULE, SYMBOL = "kunit-self", "kunit-test.ko", "kunit_status_set_failure_test"


@pytest.fixture
def plan(tiny: Build, layout: Layout, tmp_path: Path) -> Path:
    """A plan of one cell, and a store of its own with a copy of the build that may be harmed."""
    store = tmp_path / "store"
    for name in ("sources", "builds", "objects"):
        (store / name).mkdir(parents=True)
    source = next(path for path in layout.sources.iterdir() if tiny.tree.path.is_relative_to(path))
    (store / "sources" / source.name).symlink_to(source)
    for path, name in ((tiny.path, "builds"), (tiny.objects.parent, "objects"), (layout.downloads, "")):
        subprocess.run(["cp", "-a", "--reflink=auto", str(path), str(store / name / path.name)], check=True)
    path = tmp_path / "one.toml"
    path.write_text(PLAN.format(more="").replace('"96M", ', "").replace(', "disk:64M"', ""))
    return path


def run(plan: Path, *words: str, status: int = 0) -> tuple[dict[str, Any], str]:
    """The report and what was said of a run of the plan."""
    command = start(plan, str(plan), "--json", *words)
    out, err = command.communicate(timeout=SECONDS)
    assert command.returncode == status, out + err
    assert "Traceback" not in err
    return json.loads(out), err


def newest(store: Path) -> Path:
    return max(path for path in (store / "runs").iterdir() if path.is_dir())


def test_a_build_and_a_root_that_were_harmed(plan: Path) -> None:
    store = plan.parent / "store"
    assert run(plan)[0]["verdict"] == "good"
    (build,) = (store / "builds").iterdir()
    (module,) = build.rglob(MODULE)
    good = module.read_bytes()
    subprocess.run(["sed", "-i", f"s/{SYMBOL}/{SYMBOL[:-4]}TAMP/g", str(module)], check=True)
    assert module.read_bytes() != good
    report, said = run(plan, "--fresh")
    assert f"{MODULE} is not what was made: its content changed; it is set aside" in said
    assert (report["verdict"], report["runs"][0]["kept_from"]) == ("good", "")
    assert module.read_bytes() == good

    os.truncate(build / "bzImage", 100_000)
    (root,) = (store / "roots").iterdir()
    with (root / "init").open("a") as file:
        file.write("# one more line\n")
    report, said = run(plan, "--fresh")
    assert "bzImage has 100000 bytes" in said and "/init has" in said
    assert report["verdict"] == "good"
    assert sorted(path.name.split("-")[0] for path in (store / "damaged").iterdir()) == ["builds", "builds", "roots"]


def test_a_kept_boot_without_its_evidence_is_booted_again(plan: Path) -> None:
    store = plan.parent / "store"
    first = run(plan)[0]["id"]
    kept, _ = run(plan)
    assert kept["runs"][0]["kept_from"] == first
    place = newest(store) / kept["runs"][0]["directory"]
    for name in ("console.log", "control.log"):
        os.truncate(place / name, 0)
    shutil.rmtree(place / "results")
    assert (store / "runs" / first / kept["runs"][0]["directory"] / "console.log").stat().st_size
    again, said = run(plan)
    assert "is not believed, and booted again" in said
    assert again["runs"][0]["kept_from"] == ""
    begun = [entry for path in (store / "runs").iterdir() for entry in read_journal(path) if entry.step is Step.BEGUN]
    assert len(begun) == 2


def test_a_module_that_changes_while_its_guest_runs(plan: Path) -> None:
    store = plan.parent / "store"
    (module,) = (store / "builds").rglob(MODULE)
    command = start(plan, str(plan), "--json")
    while not list((store / "runs").glob("*/*/console.log")):
        assert command.poll() is None
    with module.open("ab") as file:
        file.write(b"x")
    out, err = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, out + err
    assert f"{MODULE} has" in err
    assert json.loads(out)["verdict"] == "good"
    assert len([path for path in newest(store).iterdir() if path.is_dir()]) == 1


def test_long_names_are_no_trouble(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of a socket has room for 107 bytes."""
    place = plan.parent / ("deep" * 30) / ("deeper" * 20)
    place.mkdir(parents=True)
    (plan.parent / "store").rename(place / "store")
    (place / "one.toml").write_text(plan.read_text())
    (place / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(place / "tmp"))
    assert run(place / "one.toml")[0]["verdict"] == "good"
    assert list((place / "tmp").iterdir()) == []
    assert not list((place / "store" / "runs").glob("*/*/scratch"))
