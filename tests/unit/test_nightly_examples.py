# SPDX-License-Identifier: GPL-2.0-only
"""The examples of docs/nightly: what reads them for real accepts them, and what is broken in them is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.flow.nightly_config import read_nightly
from tests.conftest import require_module, require_tool

EXAMPLES = Path(__file__).parents[2] / "docs" / "nightly"
UNITS = ("ttm-harness-nightly.service", "ttm-harness-nightly.timer")
PIPELINES = {"gitlab-ci.yml": "vendor.gitlab-ci", "github-workflow.yml": "vendor.github-workflows"}


def ran(*argv: str | Path, **environment: str) -> tuple[int, str]:
    env = {**os.environ, **environment}
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, timeout=120, check=False, env=env)
    return done.returncode, done.stdout + done.stderr


def test_the_config_is_one() -> None:
    config = read_nightly(EXAMPLES / "nightly.toml")
    assert (config.name, [one.name for one in config.source]) == ("nightly", ["newest", "base"])


def verify(folder: Path, **changes: str) -> tuple[int, str]:
    """systemd's own word on the units, with a program that is there in the place of the user's."""
    tool = require_tool("systemd-analyze")
    for name in UNITS:
        text = (EXAMPLES / name).read_text().replace("%h/.local/bin/ttm-harness", sys.executable)
        for old, new in changes.items():
            text = text.replace(f"{old}=", f"{new}=")
        (folder / name).write_text(text)
    # A user's manager has a directory at run time, which nobody has in a test; nothing is put there.
    return ran(tool, "verify", "--user", "--man=no", *(folder / name for name in UNITS), XDG_RUNTIME_DIR=str(folder))


def test_units_are_verified_by_systemd(tmp_path: Path) -> None:
    assert verify(tmp_path) == (0, "")
    assert "Unknown key" in verify(tmp_path, OnCalendar="OnCalender")[1]
    status, said = verify(tmp_path, ExecStart="ExecBegin")
    assert status != 0
    assert "ExecStart" in said


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_fit_their_schemas(name: str, tmp_path: Path) -> None:
    require_module("check_jsonschema", "test")
    check = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", PIPELINES[name])
    status, said = ran(*check, EXAMPLES / name)
    assert status == 0, said
    broken = tmp_path / name
    broken.write_text((EXAMPLES / name).read_text().replace("timeout", "time_out"))
    assert ran(*check, broken)[0] != 0


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_call_what_there_is(name: str) -> None:
    lines = (EXAMPLES / name).read_text().splitlines()
    commands = [line.partition(" .venv/bin/ttm-harness ")[2].split() for line in lines if "bin/ttm-harness" in line]
    assert [words[:2] for words in commands] == [["nightly", "docs/nightly/nightly.toml"]]
    assert any(line.strip().endswith(".ci/setup") for line in lines)
