# SPDX-License-Identifier: GPL-2.0-only
"""The files that docs/fleet.md shows are what their readers accept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.checkout import ROOT
from harness.fleet.slurm import read_jobs
from harness.fleet.ssh_hosts import read_hosts
from tests.conftest import require_tool

DOCS = ROOT / "docs" / "fleet"


def test_files_that_are_read_by_the_harness() -> None:
    assert [one.address for one in read_hosts(DOCS / "hosts.toml").hosts] == ["lab1", "ttm@lab2"]
    assert read_jobs(DOCS / "slurm.toml").words()["job_extra_directives"] == ["--constraint=kvm"]


def test_the_script_for_sbatch() -> None:
    file = DOCS / "workers.sbatch"
    subprocess.run((require_tool("shellcheck"), file), check=True, timeout=60)
    subprocess.run(("bash", "-n", file), check=True, timeout=60)


def test_the_objects_of_kubernetes(tmp_path: Path) -> None:
    words = (str(Path(sys.executable).with_name("kubernetes-validate")), "--strict", "--quiet")
    file = DOCS / "kubernetes.yaml"
    subprocess.run((*words, file), check=True, timeout=120)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(file.read_text().replace("containerPort: 8786", "containerPort: x"))
    assert subprocess.run((*words, wrong), check=False, timeout=120).returncode
